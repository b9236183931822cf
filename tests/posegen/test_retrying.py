"""Retries: what failed is ordered and paid again, once, and nothing else is."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from support.house import NOW, House, all_at_once

from posegen.books import read_books
from posegen.errors import Conflict, IdempotencyMismatch, NotEnoughCredits, NotFound, QuotaExceeded, WordingRefused
from posegen.finishing import cancel_generation
from posegen.orders import PlacedOrder
from posegen.retention import forget_generation
from posegen.retrying import retry_generation
from posegen.tables import Generation, Project, WorkItem

SAME = ("variation_key", "part", "pose_id", "people", "prompt", "profile", "width_px", "height_px", "steps", "guidance")


def retry(house: House, generation_id: str, *, user_id: str = "ann", **more: Any) -> PlacedOrder:
    asked = {"profile_name": "tiny", "now": NOW, **more}
    with house.database.writing() as session:
        return retry_generation(session, user_id, generation_id, **asked)


def ordered(house: House, outcomes: str, **asked: Any) -> str:
    """An order whose pictures end as the letters say: d(elivered), f(ailed), o(pen), the rest c(ancelled)."""
    generation_id: str = house.order("ann", len(outcomes), **asked).generation_id
    end(house, generation_id, outcomes)
    return generation_id


def end(house: House, generation_id: str, outcomes: str) -> None:
    for outcome in outcomes.replace("o", "").replace("c", ""):
        (claim,) = house.claim(1)
        assert claim.generation_id == generation_id
        assert (house.deliver if outcome == "d" else house.fail)(claim)
    if "c" in outcomes:
        cancel(house, generation_id)


def cancel(house: House, generation_id: str) -> None:
    with house.database.writing() as session:
        cancel_generation(session, generation_id, "ann", now=NOW)


def test_a_retry_orders_the_failed_pictures_as_they_were_with_other_seeds_for_their_price(house: House) -> None:
    house.customer(credits=1000)
    first = ordered(house, "dfdf", seed=7)

    placed = retry(house, first)

    assert (placed.total_pictures, placed.credits_charged, house.balance("ann")) == (2, 60, 1000 - 120 + 60 - 60)
    made = house.generation(placed.generation_id)
    assert (made.retry_of, made.status, made.total_expected_poses) == (first, "processing", 2)
    failed = [item for item in house.items(first) if item.status == "failed"]
    again = house.items(placed.generation_id)
    for before, after in zip(failed, again, strict=True):
        assert after.retry_of == before.id
        assert [getattr(after, name) for name in SAME] == [getattr(before, name) for name in SAME]
        assert after.seed != before.seed
    assert read_books(house.database).agree
    house.assert_books_balance()


def test_a_second_retry_orders_only_what_its_first_did_not_deliver(house: House) -> None:
    house.customer()
    first = ordered(house, "fff")
    second = retry(house, first).generation_id

    with pytest.raises(Conflict, match="ordered again already"):
        retry(house, first)
    end(house, second, "dff")
    third = retry(house, first)

    assert third.total_pictures == 2
    with pytest.raises(Conflict, match="ordered again already"):
        retry(house, second)
    end(house, third.generation_id, "dc")
    assert retry(house, second).total_pictures == 1, "a retry that was cancelled delivered nothing"
    assert read_books(house.database).agree


def test_a_retry_of_a_retry_is_no_second_one_of_the_first(house: House) -> None:
    house.customer()
    first = ordered(house, "ff")
    second = retry(house, first).generation_id
    end(house, second, "ff")

    assert retry(house, second).total_pictures == 2

    with pytest.raises(Conflict, match="ordered again already"):
        retry(house, first)


def test_eight_who_retry_at_once_order_each_picture_once(house: House) -> None:
    house.customer(credits=1000)
    first = ordered(house, "ff")
    second = retry(house, first).generation_id
    end(house, second, "ff")

    outcomes = all_at_once([lambda asked=asked: retry(house, asked) for asked in (first, second) * 4])

    placed = [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]
    assert [one.total_pictures for one in placed] == [2]
    assert all(isinstance(outcome, PlacedOrder | Conflict) for outcome in outcomes), outcomes
    assert house.balance("ann") == 1000 - 60
    assert read_books(house.database).agree


def test_eight_who_retry_at_once_with_one_key_get_one_answer(house: House) -> None:
    house.customer(credits=1000)
    first = ordered(house, "ff")

    answers = all_at_once([lambda: retry(house, first, idempotency_key="k")] * 8)

    assert answers == [answers[0]] * 8
    assert isinstance(answers[0], PlacedOrder)
    assert house.balance("ann") == 940
    with pytest.raises(IdempotencyMismatch):
        house.order("ann", 2, key="k")
    with pytest.raises(IdempotencyMismatch):
        retry(house, answers[0].generation_id, idempotency_key="k")


def test_what_cannot_be_retried_is_refused_and_costs_nothing(sqlite_house: House) -> None:
    house = sqlite_house
    house.customer(credits=30 * 12)
    house.customer("bob")
    open_ = ordered(house, "foo")
    with pytest.raises(Conflict, match="still being drawn"):
        retry(house, open_)
    cancel(house, open_)
    delivered = ordered(house, "dd")
    with pytest.raises(Conflict, match="No picture"):
        retry(house, delivered)
    with pytest.raises(NotFound):
        retry(house, open_, user_id="bob")
    with pytest.raises(NotFound):
        retry(house, "01a20bd0-0000-7000-8000-000000000000")
    with pytest.raises(Conflict, match="No worker draws tiny"):
        retry(house, open_, profile_name="flux1-dev")
    with house.database.writing() as session:
        session.execute(update(Generation).values(text_prompt="a gory scene with gore"))
    with pytest.raises(WordingRefused):
        retry(house, open_)
    with house.database.writing() as session:
        session.execute(update(Generation).values(text_prompt=None))
    for status in ("archived", "deleted"):
        with house.database.writing() as session:
            session.execute(update(Project).values(status=status))
        with pytest.raises(Conflict, match=status):
            retry(house, open_)
    with house.database.writing() as session:
        session.execute(update(Project).values(status="active"))

    assert house.balance("ann") == 30 * 12 - 60
    assert house.count(Generation) == 2
    assert retry(house, open_).total_pictures == 1, "of a cancelled order only what failed"


def test_a_retry_without_the_credits_is_refused_whole(house: House) -> None:
    house.customer(credits=60)
    first = ordered(house, "ff")
    house.order("ann", 1)

    with pytest.raises(NotEnoughCredits) as refused:
        retry(house, first, idempotency_key="k")

    assert (refused.value.required, refused.value.balance) == (60, 30)
    assert house.count(Generation) == 2
    house.assert_books_balance()


def test_a_retry_in_the_unlimited_tier_takes_from_the_quota_and_not_over_it(house: House) -> None:
    house.customer(credits=0)
    house.subscribe("ann", a_day=3)
    first = ordered(house, "ffd")

    placed = retry(house, first)

    assert (placed.quota_charged, placed.credits_charged) == (2, 0)
    end(house, placed.generation_id, "ff")
    house.order("ann", 1)
    with pytest.raises(QuotaExceeded):
        retry(house, first)
    assert read_books(house.database).agree


def test_a_retry_is_paid_as_its_customer_pays_today(sqlite_house: House) -> None:
    house = sqlite_house
    house.customer(credits=100)
    first = ordered(house, "f")
    house.subscribe("ann")

    assert retry(house, first).quota_charged == 1


def test_sql_itself_refuses_to_order_a_picture_again_twice(house: House) -> None:
    house.customer()
    first = ordered(house, "ff")
    retry(house, first)

    with pytest.raises(IntegrityError), house.database.writing() as session:
        session.execute(update(WorkItem).values(retry_of=house.items(first)[0].id))


@pytest.mark.parametrize("forgotten", [(1,), (0, 1), (1, 0)])
def test_a_picture_that_is_ordered_again_stays_so_when_a_retry_in_between_is_forgotten(
    house: House, forgotten: tuple[int, ...]
) -> None:
    house.customer()
    first = ordered(house, "dff")
    second = retry(house, first).generation_id
    end(house, second, "ff")
    third = retry(house, second).generation_id
    with house.database.writing() as session:
        for number in forgotten:
            assert forget_generation(session, (first, second)[number], before=NOW + timedelta(days=1)) is not None

    if 0 not in forgotten:
        with pytest.raises(Conflict, match="ordered again already"):
            retry(house, first)
    end(house, third, "df")

    again = [retry(house, first)] if 0 not in forgotten else [retry(house, third)]
    assert [placed.total_pictures for placed in again] == [1]
    assert read_books(house.database).agree


def test_a_retry_outlives_the_generation_that_it_repeats(house: House) -> None:
    house.customer()
    first = ordered(house, "ff")
    second = retry(house, first).generation_id
    with house.database.writing() as session:
        assert forget_generation(session, first, before=NOW + timedelta(days=1)) is not None
    end(house, second, "df")

    assert retry(house, second).total_pictures == 1
    assert read_books(house.database).agree
