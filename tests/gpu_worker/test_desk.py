"""What is on the desk decides whose lease is renewed."""

from dataclasses import replace

import pytest
from PIL import Image

from gpu_worker.desk import Desk, Stage, key_of
from gpu_worker.drawn import Drawn
from posegen.leases import Claim

CLAIM = Claim(
    item_id="i1",
    attempt=1,
    kind="pose",
    generation_id="g1",
    user_id="ann",
    variation_key="p-v0",
    pose_id="p",
    people=None,
    prompt="a person",
    seed=1,
    redraw=0,
    width_px=128,
    height_px=128,
    steps=4,
    guidance=3.5,
    control_scale=0.9,
    control_end=0.8,
    alone=False,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(clock)


def test_the_same_picture_drawn_again_has_another_key(desk: Desk) -> None:
    assert desk.take(CLAIM) != desk.take(replace(CLAIM, attempt=2))


def test_a_picture_in_a_hanging_engine_is_not_renewed(desk: Desk) -> None:
    desk.take(CLAIM)

    assert [held.claim for held in desk.renewable(engine_is_well=True)] == [CLAIM]
    assert desk.renewable(engine_is_well=False) == []


def test_a_picture_being_finished_is_renewed_until_its_deadline(desk: Desk, clock: Clock) -> None:
    key = desk.take(CLAIM)
    desk.begin_finish(key, within_s=10)

    clock.now = 9.9
    assert len(desk.renewable(engine_is_well=False)) == 1
    clock.now = 10.1
    assert desk.renewable(engine_is_well=False) == []


def test_a_dropped_claim_is_not_finished(desk: Desk) -> None:
    key = desk.take(CLAIM)
    desk.drop(key)

    assert desk.begin_finish(key, within_s=10) is None


def test_a_suspect_is_seen_until_it_is_off_the_desk(desk: Desk) -> None:
    """While it is being finished too: the next picture must not die beside it."""
    key = desk.take(replace(CLAIM, alone=True))
    assert desk.holds_suspect()

    desk.begin_finish(key, within_s=10)
    assert desk.holds_suspect()

    desk.drop(key)
    assert not desk.holds_suspect()


def test_waiting_ends_at_once_for_a_change_that_was_not_seen(desk: Desk) -> None:
    seen = desk.changes
    desk.notify()

    desk.wait(60, seen=seen)


def test_an_acquitted_suspect_lets_others_in(desk: Desk) -> None:
    key = desk.take(replace(CLAIM, alone=True))

    desk.acquit(key)

    assert not desk.holds_suspect()
    assert [held.key for held in desk.held()] == [key]


def first_drawing(claim: Claim = CLAIM) -> Drawn:
    return Drawn(claim=claim, picture=Image.new("RGB", (8, 8)), backend="tiny", pose_applied=True, denoise_s=1.0)


def test_a_second_drawing_takes_the_place_of_the_first_and_is_in_the_engine_again(desk: Desk) -> None:
    key = desk.take(CLAIM)
    desk.begin_finish(key, within_s=60)
    first = first_drawing()

    again = desk.draw_again(first)

    assert again == replace(CLAIM, redraw=1)
    (held,) = desk.held(Stage.ENGINE)
    assert (held.key, held.claim, desk.first_of(held.key)) == (f"{key}:1", again, first)
    assert desk.drop(key) is None, "whoever finished the first drawing drops nothing"
    assert desk.held(Stage.FINISH) == []


def test_a_picture_that_was_dropped_or_would_join_a_suspect_is_not_drawn_again(desk: Desk) -> None:
    first = first_drawing()
    assert desk.draw_again(first) is None

    desk.begin_finish(desk.take(CLAIM), within_s=60)
    suspect = desk.take(replace(CLAIM, item_id="i2", alone=True))
    assert desk.draw_again(first) is None

    desk.drop(suspect)
    assert desk.draw_again(first) is not None


def test_the_first_drawing_can_be_taken_until_the_second_left_the_engine(desk: Desk, clock: Clock) -> None:
    key, first = desk.take(CLAIM), first_drawing()
    again = desk.draw_again(first)
    assert again is not None
    clock.now = 5.0

    taken = desk.take_first(key_of(again), within_s=60)

    assert taken is first
    (held,) = desk.held(Stage.FINISH)
    assert (held.key, held.deadline) == (key, 65.0)
    assert desk.begin_finish(key_of(again), within_s=60) is None, "the second drawing comes too late"

    again = desk.draw_again(first)
    assert again is not None
    desk.begin_finish(key_of(again), within_s=60)
    assert desk.take_first(key_of(again), within_s=60) is None
