"""Claims and leases: each picture is held by one, for as long as that one shows signs of life."""

from datetime import timedelta

from sqlalchemy import select, update
from support.house import NOW, PEOPLE, House, all_at_once, later

from posegen.leases import (
    Claim,
    give_back,
    has_queued,
    lapsed_items,
    queued_generations,
    renew_leases,
    still_held,
)
from posegen.pose_control import undrawable
from posegen.tables import Generation, User, WorkItem

LARGE = (256, 256)


def pairs(*claims: Claim) -> list[tuple[str, int]]:
    return [(claim.item_id, claim.attempt) for claim in claims]


def renew(house: House, claims: list[Claim], *, now_s: float = 10) -> set[tuple[str, int]]:
    with house.database.writing() as session:
        return renew_leases(session, pairs(*claims), lease_s=20, now=later(now_s))


def return_to_queue(house: House, claim: Claim) -> bool:
    with house.database.writing() as session:
        return give_back(session, claim.item_id, claim.attempt, now=NOW)


def test_a_claim_holds_everything_it_takes_to_draw(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1, seed=5, steps=6, guidance=2.0, control_scale=0.5).generation_id

    claim = house.claim()[0]

    assert (claim.generation_id, claim.user_id, claim.pose_id) == (generation_id, "ann", house.pose_ids[0])
    assert (claim.people, claim.seed, claim.steps, claim.guidance, claim.control_scale) == (PEOPLE, 5, 6, 2.0, 0.5)
    assert (claim.width_px, claim.height_px, claim.attempt, claim.alone) == (128, 128, 1, False)


def test_a_claimed_picture_is_leased_to_its_worker(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    item = house.item(house.claim(worker="w7", now=later(5), lease_s=20)[0].item_id)

    assert (item.status, item.worker, item.attempt) == ("drawing", "w7", 1)
    assert (item.claimed_at, item.lease_until) == (later(5), later(25))


def test_what_is_claimed_is_not_claimed_again(house: House) -> None:
    house.customer()
    house.order("ann", 3)

    first, second = house.claim(2), house.claim(2)

    assert (len(first), len(second), house.claim(2)) == (2, 1, [])
    assert len({claim.item_id for claim in [*first, *second]}) == 3


def test_only_the_workers_own_profile_is_claimed(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    assert house.claim(profile="flux1-dev") == []


def test_a_full_engine_claims_nothing(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    assert house.claim(0) == []


def test_the_running_size_is_claimed_even_behind_a_long_order_of_another(house: House) -> None:
    house.customer("ann")
    house.customer("bob")
    for _ in range(3):
        house.order("ann", 24, size=LARGE)
    house.order("bob", 2, now=later(1))

    claims = house.claim(4, size_px=(128, 128), now=later(2))

    assert [claim.user_id for claim in claims] == ["bob", "bob"]


def test_a_long_order_hides_nobody_behind_it(house: House) -> None:
    house.customer("ann")
    for _ in range(5):
        house.order("ann", 24)
    for number in range(3):
        house.customer(f"late{number}")
        house.order(f"late{number}", 1, now=later(60))

    claims = house.claim(4, now=later(61))

    assert {claim.user_id for claim in claims} == {"ann", "late0", "late1", "late2"}


def test_users_are_served_in_turn_from_claim_to_claim(house: House) -> None:
    for user_id in ("ann", "bob", "cid"):
        house.customer(user_id)
        house.order(user_id, 4)

    served = [house.claim(1, now=later(second))[0].user_id for second in range(6)]

    assert sorted(served[:3]) == ["ann", "bob", "cid"]
    assert served[3:] == served[:3]


def test_a_user_who_was_never_served_is_not_hidden_behind_many_who_were(house: House) -> None:
    """More users wait than candidates are read of one: the new one must still be seen."""
    for number in range(40):
        house.customer(f"old{number:02}")
        house.order(f"old{number:02}", 1)
    house.customer("new")
    house.order("new", 1, now=later(50))
    with house.database.writing() as session:
        session.execute(update(User).where(User.id != "new").values(last_served_at=NOW - timedelta(days=9)))

    assert house.claim(1, now=later(51))[0].user_id == "new"


def test_the_unlimited_tier_gets_three_of_four_claims_while_others_wait(house: House) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
        house.order(user_id, 12)
    with house.database.writing() as session:
        session.execute(update(WorkItem).where(WorkItem.user_id == "bob").values(unlimited=True))

    served = [house.claim(1, now=later(second))[0].user_id for second in range(8)]

    assert served == ["bob", "bob", "bob", "ann"] * 2


def test_the_share_of_the_tier_holds_when_several_pictures_are_taken_at_once(house: House) -> None:
    for user_id in ("bob", "ann"):
        house.customer(user_id)
        house.order(user_id, 12)
    with house.database.writing() as session:
        session.execute(update(WorkItem).where(WorkItem.user_id == "bob").values(unlimited=True))

    served = [claim.user_id for second in range(3) for claim in house.claim(5, now=later(second))]

    assert served == (["bob", "bob", "bob", "ann"] * 4)[:15]


def test_another_profiles_claims_do_not_count_for_the_share_of_the_tier(house: House) -> None:
    for user_id in ("ann", "bob", "elsewhere"):
        house.customer(user_id)
        house.order(user_id, 12)
    with house.database.writing() as session:
        session.execute(update(WorkItem).where(WorkItem.user_id == "bob").values(unlimited=True))
        session.execute(update(WorkItem).where(WorkItem.user_id == "elsewhere").values(profile="flux1-dev"))

    served = []
    for second in range(8):
        served += [claim.user_id for claim in house.claim(1, now=later(second))]
        house.claim(1, now=later(second + 0.5), profile="flux1-dev")

    assert served == ["bob", "bob", "bob", "ann"] * 2


def test_four_claimers_take_forty_pictures_once_each(house: House) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
        house.order(user_id, 20)

    def claim_until_empty(worker: str) -> list[str]:
        got: list[str] = []
        while claims := house.claim(3, worker=worker):
            got += [claim.item_id for claim in claims]
        return got

    answers = all_at_once([lambda worker=f"w{number}": claim_until_empty(worker) for number in range(4)])

    taken = [item_id for answer in answers if isinstance(answer, list) for item_id in answer]
    assert len(taken) == 40, answers
    assert len(set(taken)) == 40
    assert {(item.status, item.attempt) for item in house.items()} == {("drawing", 1)}


def test_a_claimer_whose_first_choice_is_being_taken_takes_the_next(postgres_house: House) -> None:
    """What another transaction has locked is skipped, not waited for, and nobody leaves empty-handed."""
    house = postgres_house
    house.customer()
    first, second, third, fourth = house.items(house.order("ann", 4).generation_id)

    with house.database.writing() as other:
        other.execute(select(WorkItem.id).where(WorkItem.id.in_([first.id, second.id])).with_for_update())
        claims = house.claim(2)

    assert [claim.item_id for claim in claims] == [third.id, fourth.id]


def test_renewing_prolongs_the_lease(house: House) -> None:
    house.customer()
    house.order("ann", 2)
    claims = house.claim()

    assert renew(house, claims) == set(pairs(*claims))

    assert {item.lease_until for item in house.items()} == {later(30)}


def test_a_lease_that_was_lost_is_not_renewed(house: House) -> None:
    house.customer()
    house.order("ann", 3)
    kept, delivered, taken_over = house.claim()
    house.deliver(delivered)
    return_to_queue(house, taken_over)
    house.claim(worker="w2")

    assert renew(house, [kept, delivered, taken_over]) == set(pairs(kept))


def test_looking_at_what_is_held_prolongs_nothing(house: House) -> None:
    house.customer()
    house.order("ann", 2)
    kept, lost = house.claim()
    return_to_queue(house, lost)
    house.claim(worker="w2")

    with house.database.reading() as session:
        assert still_held(session, pairs(kept, lost)) == set(pairs(kept))

    assert house.item(kept.item_id).lease_until == later(20)


def test_queued_work_is_seen_for_its_profile_only(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    with house.database.reading() as session:
        assert has_queued(session, "tiny")
        assert not has_queued(session, "flux1-dev")
    house.claim()
    with house.database.reading() as session:
        assert not has_queued(session, "tiny")


def test_a_picture_given_back_is_queued_at_its_old_place(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]

    assert return_to_queue(house, claim)

    item = house.item(claim.item_id)
    assert (item.status, item.worker, item.lease_until, item.crashes) == ("queued", None, None, 0)
    assert item.queued_at == NOW


def test_only_the_holder_gives_back(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]
    return_to_queue(house, claim)
    again = house.claim(worker="w2")[0]

    assert not return_to_queue(house, claim)
    assert house.item(again.item_id).worker == "w2"


def test_a_lease_has_lapsed_only_after_its_end(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim(lease_s=20)[0]

    with house.database.reading() as session:
        assert list(lapsed_items(session, now=later(20))) == []
        assert list(lapsed_items(session, now=later(20.001))) == [(claim.item_id, claim.generation_id)]


def test_waiting_generations_are_named_oldest_first(house: House) -> None:
    house.customer()
    young = house.order("ann", 1, now=later(9)).generation_id
    old = house.order("ann", 2, now=NOW).generation_id
    house.order("ann", 1, now=later(-9))
    house.claim(1)

    with house.database.reading() as session:
        assert queued_generations(session, profiles={"tiny"}) == [old, young]
        assert queued_generations(session, profiles={"tiny"}, limit=1) == [old]
        assert queued_generations(session, profiles={"flux1-dev"}) == []


def test_waiting_pictures_are_counted_by_profile(house: House) -> None:
    house.customer()
    house.order("ann", 3)
    house.claim(1)

    with house.database.reading() as session:
        assert undrawable(session, ()) == {"tiny": 2}


def test_times_come_back_as_they_went_in(house: House) -> None:
    house.customer()
    exact = later(1.234567)
    generation_id = house.order("ann", 1, now=exact).generation_id

    created_at = house.generation(generation_id).created_at

    assert (created_at, created_at.utcoffset()) == (exact, timedelta(0))
    with house.database.reading() as session:
        found = session.scalars(select(Generation.id).where(Generation.created_at == exact)).all()
    assert list(found) == [generation_id]
