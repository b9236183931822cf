"""The unlimited tier: a daily quota instead of credits, while the subscription lasts."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import update
from support.house import NOW, House, all_at_once, later

from posegen import quota
from posegen.errors import BadInput, Conflict, NotEnoughCredits, QuotaExceeded
from posegen.finishing import cancel_generation
from posegen.orders import PlacedOrder
from posegen.quota import Allowance, allowance_of
from posegen.tables import Generation, LedgerEntry, User

TODAY = NOW.date()
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)


def subscriber(house: House, *, credits: int = 0, a_day: int = 100, last_day: date = date(2026, 12, 31)) -> None:
    house.customer("ann", credits=credits)
    house.subscribe("ann", a_day=a_day, last_day=last_day)
    house.project("ann")


def allowance(house: House, *, now: datetime = NOW) -> Allowance:
    with house.database.reading() as session:
        return allowance_of(session.get_one(User, "ann"), now=now)


def test_a_subscriber_pays_with_the_quota_and_not_with_credits(house: House) -> None:
    subscriber(house, credits=500)

    placed = house.order("ann", 4)

    assert placed.credits_charged == 0
    assert (house.balance("ann"), house.count(LedgerEntry)) == (500, 1)
    assert (allowance(house).used, allowance(house).remaining) == (4, 96)
    generation = house.generation(placed.generation_id)
    assert (generation.unlimited, generation.quota_charged, generation.credit_charged) == (True, 4, 0)
    assert {(item.unlimited, item.price_credits) for item in house.items()} == {(True, 0)}
    house.assert_books_balance()


def test_everybody_else_pays_credits(house: House) -> None:
    house.customer("ann", credits=500)

    generation = house.generation(house.order("ann", 4).generation_id)

    assert (generation.unlimited, generation.quota_charged, generation.credit_charged) == (False, 0, 120)
    assert {(item.unlimited, item.price_credits) for item in house.items()} == {(False, 30)}
    assert not allowance(house).active


def test_over_the_quota_an_order_is_refused_and_credits_are_not_touched(house: House) -> None:
    subscriber(house, credits=500, a_day=5)
    house.order("ann", 4)

    with pytest.raises(QuotaExceeded) as refused:
        house.order("ann", 2, key="k")

    assert (refused.value.required, refused.value.remaining, refused.value.daily_quota) == (2, 1, 5)
    assert refused.value.resets_at == MIDNIGHT
    assert (house.balance("ann"), house.count(Generation), allowance(house).used) == (500, 1, 4)
    assert house.order("ann", 1, key="k").total_pictures == 1


def test_the_quota_starts_anew_at_midnight_utc(house: House) -> None:
    subscriber(house, a_day=4)
    house.order("ann", 4, now=MIDNIGHT - timedelta(milliseconds=1))

    with pytest.raises(QuotaExceeded):
        house.order("ann", 1, now=MIDNIGHT - timedelta(milliseconds=1))
    house.order("ann", 3, now=MIDNIGHT)

    assert (allowance(house, now=MIDNIGHT).used, allowance(house, now=MIDNIGHT).remaining) == (3, 1)
    house.assert_books_balance()


def test_before_the_days_first_order_nothing_of_it_is_used(house: House) -> None:
    subscriber(house)
    house.order("ann", 4)

    tomorrow = allowance(house, now=MIDNIGHT)

    assert (tomorrow.used, tomorrow.remaining, tomorrow.resets_at) == (0, 100, MIDNIGHT + timedelta(days=1))


def test_an_order_that_comes_late_to_a_new_day_counts_on_it(house: House) -> None:
    """It read the clock before midnight and waited for the lock of one that read it after."""
    subscriber(house, a_day=4)
    house.order("ann", 3, now=MIDNIGHT)

    with pytest.raises(QuotaExceeded):
        house.order("ann", 2, now=MIDNIGHT - timedelta(seconds=1))

    assert allowance(house, now=MIDNIGHT).used == 3


def test_an_order_that_came_late_to_a_new_day_is_given_back_on_it(house: House) -> None:
    subscriber(house, a_day=4)
    house.order("ann", 2, now=MIDNIGHT)
    late = house.order("ann", 2, now=MIDNIGHT - timedelta(seconds=1))

    with house.database.writing() as session:
        cancel_generation(session, late.generation_id, "ann", now=MIDNIGHT)

    assert allowance(house, now=MIDNIGHT).used == 2
    house.assert_books_balance()


def test_an_expired_subscription_pays_credits(house: House) -> None:
    subscriber(house, credits=500, last_day=TODAY)

    unlimited = house.order("ann", 2, now=MIDNIGHT - timedelta(seconds=1))
    paid = house.order("ann", 2, now=MIDNIGHT)

    assert (unlimited.credits_charged, paid.credits_charged, house.balance("ann")) == (0, 60, 440)
    after = allowance(house, now=MIDNIGHT)
    assert (after.active, after.remaining, after.expires_at) == (False, 0, MIDNIGHT)


def test_an_expired_subscriber_without_credits_is_told_the_price(house: House) -> None:
    subscriber(house, last_day=TODAY - timedelta(days=1))

    with pytest.raises(NotEnoughCredits):
        house.order("ann", 1)


def test_a_picture_that_fails_gives_its_place_in_the_quota_back(house: House) -> None:
    subscriber(house)
    placed = house.order("ann", 4)
    failed, delivered = house.claim(2)

    house.fail(failed)
    house.deliver(delivered)

    assert (allowance(house).used, house.count(LedgerEntry)) == (3, 0)
    assert house.generation(placed.generation_id).credit_refunded == 0
    house.assert_books_balance()


def test_a_cancelled_order_gives_back_what_was_not_delivered(house: House) -> None:
    subscriber(house)
    placed = house.order("ann", 4)
    house.deliver(house.claim(1)[0])

    with house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=later(5))

    assert allowance(house).used == 1
    house.assert_books_balance()


def test_yesterdays_pictures_give_nothing_back_to_todays_quota(house: House) -> None:
    subscriber(house)
    placed = house.order("ann", 4)
    house.order("ann", 2, now=MIDNIGHT)

    with house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=MIDNIGHT)

    assert allowance(house, now=MIDNIGHT).used == 2
    house.assert_books_balance()


def test_a_picture_paid_with_credits_gives_no_quota_back(house: House) -> None:
    house.customer("ann")
    paid = house.order("ann", 2)
    house.subscribe("ann")
    house.order("ann", 2)

    with house.database.writing() as session:
        cancel_generation(session, paid.generation_id, "ann", now=NOW)

    assert allowance(house).used == 2
    house.assert_books_balance()


def test_orders_at_the_same_time_never_take_more_than_the_quota(house: House) -> None:
    subscriber(house, credits=10_000, a_day=5)

    answers = all_at_once([lambda: house.order("ann", 1)] * 8)

    assert sum(isinstance(answer, PlacedOrder) for answer in answers) == 5, answers
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 3
    assert (allowance(house).used, house.balance("ann")) == (5, 10_000)
    house.assert_books_balance()


def test_who_has_no_subscription_takes_nothing_from_a_quota(house: House) -> None:
    house.customer("ann")

    with pytest.raises(Conflict, match="ended"), house.database.writing() as session:
        quota.take(session, "ann", 1, now=NOW)


def test_a_smaller_quota_than_was_used_leaves_nothing_and_never_less(house: House) -> None:
    subscriber(house)
    house.order("ann", 4)

    house.subscribe("ann", a_day=2)

    assert (allowance(house).used, allowance(house).remaining) == (4, 0)


@pytest.mark.parametrize("a_day", [0, -1, quota.LARGEST_QUOTA + 1])
def test_a_quota_that_is_none_is_refused(house: House, a_day: int) -> None:
    house.customer("ann")

    with pytest.raises(BadInput):
        house.subscribe("ann", a_day=a_day)


def test_a_quota_is_kept_when_only_the_day_changes(house: House) -> None:
    subscriber(house, a_day=7)

    with house.database.writing() as session:
        user = session.get_one(User, "ann")
        told = quota.subscribe(session, user, last_day=TODAY, daily_quota=None, now=NOW)

    assert (told.daily_quota, told.expires_at, told.active) == (7, MIDNIGHT, True)


def test_without_a_word_a_day_has_a_hundred_pictures(house: House) -> None:
    house.customer("ann")
    with house.database.writing() as session:
        session.execute(update(User).values(unlimited_until=MIDNIGHT))

    assert allowance(house).remaining == 100
