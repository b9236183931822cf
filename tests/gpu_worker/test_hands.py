"""Claiming: the engine is kept fed with the best work, and what it will not draw goes back."""

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update
from support.house import later
from support.waiting import wait_until

from models.fake import FakeTrouble
from models.loras import Lora
from posegen.finishing import cancel_generation
from posegen.orders import Order, place_order
from posegen.recovery import return_lapsed
from posegen.statuses import GenerationStatus, ItemStatus
from posegen.tables import WorkItem

if TYPE_CHECKING:
    from .conftest import Bench


def draw_all(bench: "Bench") -> None:
    bench.thread.start()
    bench.hands.draw_everything()


def test_pictures_of_two_customers_share_one_forward(bench: "Bench") -> None:
    ann = bench.house.order("ann", 4)
    bob = bench.house.order("bob", 4)
    of = {item.id: item.generation_id for item in bench.house.items()}

    draw_all(bench)

    forwards = [{of[key.split(":")[0]] for key in keys} for keys in bench.engine.forwards]
    assert {ann.generation_id, bob.generation_id} in forwards


def test_pictures_of_other_loras_never_share_a_forward(bench: "Bench") -> None:
    of = {}
    for strength in (0.5, 1.0, None):
        loras = () if strength is None else (Lora(name="film", strength=strength),)
        asked = Order(
            project_id=bench.house.project("ann"), pose_ids=(bench.house.pose_ids[0],), variations=2, loras=loras
        )
        with bench.house.database.writing() as session:
            placed = place_order(session, "ann", asked, profile_name="tiny", known_loras=("film",), now=later(0))
        of |= {item.id: strength for item in bench.house.items(placed.generation_id)}

    draw_all(bench)

    forwards = [{of[key.split(":")[0]] for key in keys} for keys in bench.engine.forwards]
    assert all(len(strengths) == 1 for strengths in forwards)
    assert {len(keys) for keys in bench.engine.forwards} == {2}
    assert {item.status for item in bench.house.items()} == {ItemStatus.COMPLETED}


def test_everything_that_is_queued_is_drawn_and_delivered(bench: "Bench") -> None:
    placed = bench.house.order("ann", 12)

    draw_all(bench)

    generation = bench.house.generation(placed.generation_id)
    assert (generation.status, generation.poses_completed) == (GenerationStatus.COMPLETED, 12)
    assert len(bench.stored()) == 24
    bench.house.assert_books_balance()


def test_the_customer_is_told_once_that_drawing_began_and_everything_in_order(bench: "Bench") -> None:
    bench.house.order("ann", 6)

    draw_all(bench)

    told = [event.type for event in bench.house.events("ann")]
    assert told[0] == "started"
    assert told[-1] == "completed"
    assert (told.count("started"), told.count("pose_completed"), told.count("progress")) == (1, 6, 6)


def test_a_ring_with_nothing_to_draw_returns_at_once(bench: "Bench") -> None:
    bench.thread.start()

    bench.hands.draw("nothing")

    assert bench.engine.forwards == []


def test_a_picture_the_engine_refuses_is_refunded_and_the_rest_is_drawn(bench: "Bench") -> None:
    placed = bench.house.order("ann", 4)
    odd = bench.house.items(placed.generation_id)[0]
    with bench.house.database.writing() as session:
        session.execute(update(WorkItem).where(WorkItem.id == odd.id).values(prompt=" "))

    draw_all(bench)

    generation = bench.house.generation(placed.generation_id)
    assert (generation.poses_completed, generation.poses_failed, generation.credit_refunded) == (3, 1, 30)
    assert bench.house.item(odd.id).error_code == "empty_prompt"
    bench.house.assert_books_balance()


def test_key_points_that_cannot_be_read_are_refunded(bench: "Bench") -> None:
    placed = bench.house.order("ann", 1)
    with bench.house.database.writing() as session:
        session.execute(update(WorkItem).values(people={"people": "nobody"}))

    draw_all(bench)

    generation = bench.house.generation(placed.generation_id)
    assert (generation.status, generation.credit_refunded) == (GenerationStatus.FAILED, 30)


def test_another_size_is_drawn_after_the_engine_ran_dry(bench: "Bench") -> None:
    wide = bench.house.order("ann", 4, size=(256, 192))
    small = bench.house.order("bob", 4, size=(128, 128))
    of = {item.id: item.generation_id for item in bench.house.items()}

    draw_all(bench)

    mixed = [keys for keys in bench.engine.forwards if len({of[key.split(":")[0]] for key in keys}) > 1]
    assert mixed == []
    assert {bench.house.generation(placed.generation_id).poses_completed for placed in (wide, small)} == {4}


def test_a_bad_picture_is_failed_and_refunded_alone(bench: "Bench") -> None:
    placed = bench.house.order("ann", 4)
    bad = bench.house.items(placed.generation_id)[1]
    bench.engine.trouble[f"{bad.id}:1"] = FakeTrouble.NAN

    draw_all(bench)

    assert bench.house.item(bad.id).error_code == "bad_picture"
    assert bench.house.generation(placed.generation_id).poses_completed == 3
    bench.house.assert_books_balance()


def test_a_drain_gives_back_what_is_not_drawn(bench: "Bench") -> None:
    bench.engine.step_s = 5.0
    placed = bench.house.order("ann", 4)
    claiming = threading.Thread(target=bench.hands.draw, args=(placed.generation_id,))
    claiming.start()
    wait_until(lambda: len(bench.desk.held()) == 4, message="four claims")

    bench.hands.begin_drain()
    claiming.join(5)
    returned = bench.hands.give_back()

    items = bench.house.items(placed.generation_id)
    assert returned == 4
    assert {(item.status, item.attempt, item.crashes) for item in items} == {(ItemStatus.QUEUED, 1, 0)}
    assert bench.announcer.bell.waiting() == 1


@pytest.mark.parametrize(
    ("trouble", "crashes"), [(FakeTrouble.CRASH, 1), (FakeTrouble.LOST, 0)], ids=["under work", "by itself"]
)
def test_what_was_in_a_failed_engine_goes_back_and_is_blamed_unless_the_card_failed_by_itself(
    bench: "Bench", trouble: FakeTrouble, crashes: int
) -> None:
    placed = bench.house.order("ann", 4)
    bad = bench.house.items(placed.generation_id)[1]
    bench.engine.trouble[f"{bad.id}:1"] = trouble
    draw_all(bench)
    wait_until(bench.thread.failed.is_set)

    returned = bench.hands.give_back()

    items = bench.house.items(placed.generation_id)
    assert returned == 4
    assert {(item.status, item.attempt, item.crashes) for item in items} == {(ItemStatus.QUEUED, 1, crashes)}
    assert bench.desk.held() == []
    assert bench.announcer.bell.waiting() == 1


def test_a_cancelled_generation_leaves_the_engine(bench: "Bench") -> None:
    bench.engine.step_s = 0.2
    placed = bench.house.order("ann", 4)
    bench.thread.start()
    bench.keeper.watch(bench.desk, bench.thread, bench.hands)
    bench.keeper.start()
    claiming = threading.Thread(target=bench.hands.draw, args=(placed.generation_id,))
    claiming.start()
    wait_until(lambda: bool(bench.engine.forwards), message="the first forward")

    with bench.house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=bench.house.items()[0].created_at)

    wait_until(lambda: not bench.desk.held() and not bench.engine.has_work(), message="an empty engine")
    claiming.join(5)
    generation = bench.house.generation(placed.generation_id)
    assert (generation.status, generation.credit_refunded) == (GenerationStatus.CANCELLED, 120)
    assert bench.stored() == []


def test_a_picture_that_was_slept_through_leaves_the_engine_though_it_was_claimed_again(bench: "Bench") -> None:
    """The worker was stopped past its lease; awake, it claims its own picture before it looks at what it lost."""
    bench.house.order("ann", 1)
    (slept,) = bench.house.claim(1)
    before = bench.desk.take(slept)
    with bench.house.database.writing() as session:
        return_lapsed(session, witness_since=None, now=later(60))
    (again,) = bench.house.claim(1, now=later(60))
    after = bench.desk.take(again)
    bench.keeper.watch(bench.desk, bench.thread, bench.hands)

    bench.keeper.start()
    wait_until(lambda: len(bench.desk.held()) < 2, message="the lost claim to go")

    assert before != after
    assert [held.key for held in bench.desk.held()] == [after]


def test_a_broken_engine_ends_the_claiming(bench: "Bench") -> None:
    placed = bench.house.order("ann", 2)
    for item in bench.house.items(placed.generation_id):
        bench.engine.trouble[f"{item.id}:1"] = FakeTrouble.CRASH
    bench.thread.start()

    bench.hands.draw(placed.generation_id)

    assert bench.thread.failed.is_set()
    assert {item.status for item in bench.house.items(placed.generation_id)} == {ItemStatus.DRAWING}


def test_an_engine_that_breaks_in_submit_does_not_keep_the_claim_for_ever(bench: "Bench") -> None:
    placed = bench.house.order("ann", 1)

    def submit(_request: object) -> None:
        raise MemoryError

    bench.engine.submit = submit  # type: ignore[method-assign]
    bench.thread.start()
    bench.hands.draw_everything()

    item = bench.house.items(placed.generation_id)[0]
    assert (item.status, item.attempt, bench.desk.held()) == (ItemStatus.FAILED, 3, [])
    bench.house.assert_books_balance()


def test_nothing_more_is_claimed_while_too_much_waits_to_be_stored(bench: "Bench") -> None:
    bench.house.order("ann", 16, now=later(-60))
    waiting = [bench.desk.take(claim) for claim in bench.house.claim(13)]
    for key in waiting:
        bench.desk.begin_finish(key, within_s=60)

    bench.hands._feed(until=0.0)
    assert {item.status for item in bench.house.items()} == {ItemStatus.DRAWING, ItemStatus.QUEUED}
    assert len(bench.desk.held()) == 13

    bench.desk.drop(waiting[0])
    bench.hands._feed(until=0.0)
    assert len(bench.desk.held()) == 15


def test_nothing_is_claimed_for_an_engine_that_hangs(bench: "Bench") -> None:
    bench.house.order("ann", 4)
    bench.thread.is_well = lambda: False  # type: ignore[method-assign]

    bench.hands._feed(until=0.0)

    assert bench.desk.held() == []
