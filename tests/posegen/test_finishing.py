"""How a picture becomes final: once, with its refund, its counters and its events in the same transaction."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from support.house import NOW, House, all_at_once, drawn, later

from posegen.errors import Conflict, NotFound
from posegen.finishing import cancel_generation, deliver_picture, mark_started
from posegen.generations import progress_of
from posegen.identifiers import SEED_LIMIT, seed_of_redraw
from posegen.leases import give_back
from posegen.tables import Generation, LibraryPose, Project, StoredObject


def cancel(house: House, generation_id: str, user_id: str = "ann") -> Generation:
    with house.database.writing() as session:
        return cancel_generation(session, generation_id, user_id, now=NOW)


def test_a_delivered_picture_has_its_files_and_its_making(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1, seed=9).generation_id
    claim = house.claim()[0]

    assert house.deliver(claim, now=later(3))

    picture = house.pictures(generation_id)[0]
    handed_in = drawn(claim)
    assert (picture.output_key, picture.thumbnail_key) == (handed_in.output.key, handed_in.thumbnail.key)
    assert (picture.status, picture.seed_used, picture.backend, picture.pose_applied) == ("completed", 9, "tiny", True)
    assert (picture.prompt_used, picture.licence, picture.created_at) == (claim.prompt, "Apache-2.0", later(3))
    with house.database.reading() as session:
        stored = {row.key: row.content_type for row in session.scalars(select(StoredObject))}
    assert stored == {handed_in.output.key: "image/png", handed_in.thumbnail.key: "image/webp"}


def test_of_a_picture_that_was_drawn_twice_the_delivered_drawing_names_its_seed(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1, seed=9).generation_id
    claim = house.claim()[0]

    assert house.deliver(replace(claim, redraw=1))

    picture = house.pictures(generation_id)[0]
    assert picture.seed_used == seed_of_redraw(9, 1) != 9
    assert (house.item(claim.item_id).seed, house.item(claim.item_id).redraw) == (9, 1)
    assert not house.deliver(claim), "the drawing before it came too late"
    house.assert_books_balance()


def test_a_redraws_seed_is_a_seed_and_always_the_same() -> None:
    seeds = [seed_of_redraw(seed, redraw) for seed in (0, 9, SEED_LIMIT - 1) for redraw in (0, 1, 2)]

    assert seeds[::3] == [0, 9, SEED_LIMIT - 1], "drawing 0 is the picture's own"
    assert len(set(seeds)) == 9
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)
    assert seed_of_redraw(9, 1) == 4183766996


def test_delivering_counts_everywhere(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 2).generation_id

    for claim in house.claim():
        house.deliver(claim)

    generation = house.generation(generation_id)
    assert (generation.poses_completed, generation.drawing_s) == (2, 3.0)
    with house.database.reading() as session:
        assert session.get_one(Project, generation.project_id).total_poses_generated == 2
        assert session.get_one(LibraryPose, house.pose_ids[0]).usage_count == 2
    house.assert_books_balance()


def test_a_generation_whose_pictures_are_all_delivered_is_completed(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 2).generation_id
    first, second = house.claim()

    house.deliver(first)
    assert house.generation(generation_id).status == "processing"
    house.deliver(second, now=later(5))

    generation = house.generation(generation_id)
    assert (generation.status, generation.completed_at) == ("completed", later(5))


def test_a_failed_picture_is_refunded_with_its_reason(house: House) -> None:
    house.customer(credits=60)
    generation_id = house.order("ann", 2).generation_id
    claim = house.claim()[0]

    assert house.fail(claim)

    assert house.balance("ann") == 30
    picture = house.pictures(generation_id)[0]
    assert (picture.status, picture.error_message, picture.output_key) == ("failed", "It could not be drawn.", None)
    assert house.item(claim.item_id).error_code == "bad_picture"
    house.assert_books_balance()


def test_one_delivered_picture_makes_the_generation_completed_whatever_failed(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 3).generation_id
    first, second, third = house.claim()

    house.deliver(first)
    house.fail(second)
    house.fail(third)

    generation = house.generation(generation_id)
    assert (generation.status, generation.poses_completed, generation.poses_failed) == ("completed", 1, 2)
    assert generation.credit_refunded == 60


def test_a_generation_without_a_delivered_picture_failed_and_costs_nothing(house: House) -> None:
    house.customer(credits=60)
    generation_id = house.order("ann", 2).generation_id

    for claim in house.claim():
        house.fail(claim)

    generation = house.generation(generation_id)
    assert (generation.status, generation.error_message) == ("failed", "It could not be drawn.")
    assert house.balance("ann") == 60
    house.assert_books_balance()


def test_cancelling_refunds_what_was_not_delivered(house: House) -> None:
    house.customer(credits=120)
    generation_id = house.order("ann", 4).generation_id
    house.deliver(house.claim(2)[0])

    generation = cancel(house, generation_id)

    assert (generation.status, generation.poses_completed, generation.poses_cancelled) == ("cancelled", 1, 3)
    assert house.balance("ann") == 90
    assert sorted(item.status for item in house.items(generation_id)) == ["cancelled"] * 3 + ["completed"]
    house.assert_books_balance()


def test_cancelling_twice_refunds_once(house: House) -> None:
    house.customer(credits=120)
    generation_id = house.order("ann", 4).generation_id
    cancel(house, generation_id)

    assert cancel(house, generation_id).status == "cancelled"

    assert house.balance("ann") == 120
    assert [event.type for event in house.events("ann")] == ["cancelled"]


def test_a_final_generation_cannot_be_cancelled(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    house.deliver(house.claim()[0])

    with pytest.raises(Conflict, match="completed"):
        cancel(house, generation_id)


def test_somebody_elses_generation_does_not_exist_to_cancel(house: House) -> None:
    house.customer("ann")
    house.customer("bob")
    generation_id = house.order("ann", 1).generation_id

    with pytest.raises(NotFound):
        cancel(house, generation_id, "bob")

    assert house.generation(generation_id).status == "processing"


def test_a_picture_cannot_be_delivered_after_its_generation_was_cancelled(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    claim = house.claim()[0]
    cancel(house, generation_id)

    assert not house.deliver(claim)
    assert not house.fail(claim)

    assert house.pictures(generation_id) == []
    assert house.count(StoredObject) == 0
    house.assert_books_balance()


def test_a_ghost_whose_picture_was_claimed_again_cannot_deliver(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    ghost = house.claim(worker="ghost")[0]
    with house.database.writing() as session:
        give_back(session, ghost.item_id, ghost.attempt, now=NOW)
    alive = house.claim(worker="alive")[0]

    assert not house.deliver(ghost)
    assert not house.fail(ghost)
    assert house.deliver(alive)

    assert house.pictures(generation_id)[0].output_key == drawn(alive).output.key
    house.assert_books_balance()


def test_of_two_who_finish_the_same_claim_one_wins(house: House) -> None:
    house.customer()
    house.order("ann", 6)

    for claim in house.claim(6):
        outcomes = all_at_once([lambda claim=claim: house.deliver(claim), lambda claim=claim: house.fail(claim)])
        assert sorted(outcomes) == [False, True]

    house.assert_books_balance()


def test_of_a_cancel_and_a_delivery_exactly_one_comes_first(house: House) -> None:
    house.customer()

    for _ in range(8):
        generation_id = house.order("ann", 1).generation_id
        claim = house.claim()[0]
        delivered, cancelled = all_at_once(
            [lambda claim=claim: house.deliver(claim), lambda generation_id=generation_id: cancel(house, generation_id)]
        )
        assert delivered is isinstance(cancelled, Conflict), (delivered, cancelled)
        assert house.generation(generation_id).status == ("completed" if delivered else "cancelled")

    house.assert_books_balance()


def test_pictures_that_are_finished_at_once_are_all_counted(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 8).generation_id
    claims = house.claim(8)

    outcomes = all_at_once([lambda claim=claim: house.deliver(claim) for claim in claims])

    assert outcomes == [True] * 8
    assert house.generation(generation_id).status == "completed"
    assert [event.type for event in house.events("ann")].count("completed") == 1
    house.assert_books_balance()


def test_only_the_first_who_starts_a_generation_tells_of_it(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id

    def start() -> bool:
        with house.database.writing() as session:
            return mark_started(session, generation_id, now=later(1))

    assert sorted(all_at_once([start] * 4)) == [False, False, False, True]
    assert [event.type for event in house.events("ann")] == ["started"]
    assert house.generation(generation_id).started_at == later(1)


def test_nothing_starts_after_it_was_cancelled(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    with house.database.writing() as session:
        cancel_generation(session, generation_id, "ann", now=later(1))

    with house.database.writing() as session:
        assert not mark_started(session, generation_id, now=later(2))

    assert [event.type for event in house.events("ann")] == ["cancelled"]
    assert house.generation(generation_id).started_at is None


def test_the_events_of_an_order_tell_its_whole_story_in_order(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 2).generation_id
    first, second = house.claim()

    house.deliver(first)
    house.fail(second)

    told = [(event.type, event.payload) for event in house.events("ann")]
    assert [type_ for type_, _ in told] == [
        "started",
        "pose_completed",
        "progress",
        "pose_completed",
        "progress",
        "completed",
    ]
    assert told[2][1] == {"completed": 1, "failed": 0, "total": 2, "percentage": 50, "estimatedTimeRemaining": None}
    assert told[3][1]["errorMessage"] == "It could not be drawn."
    assert told[4][1]["percentage"] == 100
    assert told[5][1] == {"completed": 1, "failed": 1, "total": 2, "creditRefunded": 30}
    assert {event.generation_id for event in house.events("ann")} == {generation_id}


def test_a_failed_generation_is_told_with_its_reason_and_its_refund(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    house.fail(house.claim()[0])

    event = house.events("ann")[-1]
    assert (event.type, event.payload) == ("failed", {"error": "It could not be drawn.", "creditRefunded": 30})


def test_progress_says_100_only_at_the_end(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 24).generation_id
    claims = house.claim(24)

    for claim in claims[:-1]:
        house.deliver(claim)
    told = [event.payload["percentage"] for event in house.events("ann") if event.type == "progress"]
    with house.database.reading() as session:
        read = progress_of(session, session.get_one(Generation, generation_id), now=NOW)

    assert told[-1] == read.percentage == 95
    assert told == sorted(told)


def test_a_transaction_that_breaks_leaves_no_trace(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    claim = house.claim()[0]

    with house.database.writing() as session:
        assert deliver_picture(session, claim, drawn(claim), now=NOW)
        session.rollback()

    assert house.item(claim.item_id).status == "drawing"
    assert house.pictures(generation_id) == house.events("ann") == []
    assert house.deliver(claim)
    house.assert_books_balance()


def test_a_picture_cannot_overwrite_another_ones_file(house: House) -> None:
    house.customer()
    house.order("ann", 2)
    first, second = house.claim()
    house.deliver(first)

    with pytest.raises(IntegrityError), house.database.writing() as session:
        deliver_picture(session, second, drawn(first), now=NOW)

    house.assert_books_balance()
