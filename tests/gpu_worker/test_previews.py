"""Previews in the worker: for who watches, in turns, never late, and never at the cost of the drawing."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import structlog
from PIL import Image
from support.previewing import Clock
from support.waiting import wait_until

from gpu_worker.desk import Desk
from gpu_worker.previews import WATCHERS_EVERY_S, Previews, encode_preview
from models.fake import FakeEngine
from models.profiles import TINY
from models.requests import PictureRequest
from posegen.errors import BellAway
from posegen.leases import Claim
from posegen.previews import PREVIEW_PX, PreviewMessage, read_preview


@dataclass
class FakeBell:
    """A Redis that writes down what it is sent, and at what time."""

    clock: Clock
    watched: set[str] = field(default_factory=set)
    sent: list[tuple[float, str, PreviewMessage]] = field(default_factory=list)
    questions: int = 0
    is_away: bool = False

    def who_watches(self, user_ids: Sequence[str]) -> frozenset[str]:
        self.questions += 1
        if self.is_away:
            raise BellAway
        return frozenset(self.watched & set(user_ids))

    def publish_preview(self, user_id: str, message: bytes) -> None:
        if self.is_away:
            raise BellAway
        preview = read_preview(message)
        assert preview is not None
        self.sent.append((self.clock.now_s, user_id, preview))


class Studio:
    """A fake engine with previews over it, stepped by hand: everything happens in this thread."""

    def __init__(self, step_s: float) -> None:
        self.clock = Clock()
        self.bell = FakeBell(self.clock)
        self.desk = Desk()
        self.engine = FakeEngine(TINY, max_batch=8)
        self.previews = Previews(self.engine, self.desk, self.bell, clock=self.clock)  # type: ignore[arg-type]
        self.step_s = step_s

    def order(self, user_id: str, pictures: int, steps: int = 50) -> None:
        for number in range(pictures):
            key = self.desk.take(claim(user_id, number))
            self.engine.submit(request(key, steps))

    def step(self, *, send: bool = True) -> None:
        """One step of the engine; then the other thread's turn, unless it is busy."""
        self.clock.now_s += self.step_s
        report = self.engine.step()
        self.previews.take(report)
        if send:
            self.previews.work()
        for outcome in report.outcomes:
            self.desk.drop(outcome.key)

    def draw_everything(self) -> None:
        while self.engine.has_work():
            self.step()

    def shown(self, user_id: str) -> list[PreviewMessage]:
        return [preview for _, user, preview in self.bell.sent if user == user_id]


def claim(user_id: str, number: int) -> Claim:
    return Claim(
        item_id=f"{user_id}-{number}",
        attempt=1,
        kind="pose",
        generation_id=f"{user_id}s",
        user_id=user_id,
        variation_key=f"standing-v{number}",
        pose_id="standing",
        people=None,
        prompt="a person",
        seed=1,
        redraw=0,
        width_px=256,
        height_px=256,
        steps=50,
        guidance=3.5,
        control_scale=0.9,
        control_end=0.9,
        alone=False,
    )


def request(key: str, steps: int) -> PictureRequest:
    return PictureRequest(
        key=key,
        prompt="a person",
        control=None,
        width=256,
        height=256,
        seed=1,
        steps=steps,
        guidance=3.5,
        control_scale=0.9,
        control_end=0.9,
    )


@pytest.fixture
def studio() -> Studio:
    return Studio(step_s=0.1)


def test_a_user_who_watches_sees_two_a_second_and_their_pictures_take_turns(studio: Studio) -> None:
    studio.bell.watched = {"ann"}
    studio.order("ann", 3)
    studio.draw_everything()

    times = [at for at, *_ in studio.bell.sent]
    assert len(times) >= 8
    assert all(later - earlier >= 0.49 for earlier, later in pairwise(times))
    keys = [preview.variation_key for preview in studio.shown("ann")]
    assert all(len(set(keys[at : at + 3])) == 3 for at in range(len(keys) - 2))
    assert {(preview.generation_id, preview.steps) for preview in studio.shown("ann")} == {("anns", 50)}
    steps = [preview.step for preview in studio.shown("ann")]
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1] < 50


def test_users_do_not_slow_each_other_and_see_only_their_own(studio: Studio) -> None:
    studio.bell.watched = {"ann", "bob"}
    studio.order("ann", 4)
    studio.order("bob", 1)
    studio.draw_everything()

    assert abs(len(studio.shown("ann")) - len(studio.shown("bob"))) <= 1
    assert {preview.generation_id for preview in studio.shown("ann")} == {"anns"}
    assert {preview.generation_id for preview in studio.shown("bob")} == {"bobs"}


def test_nothing_is_made_for_a_user_whom_nobody_listens_for(studio: Studio) -> None:
    asked: list[str] = []
    studio.engine.preview = asked.append  # type: ignore[method-assign]
    studio.bell.watched = {"bob"}
    studio.order("ann", 2)
    studio.draw_everything()

    assert (asked, studio.bell.sent) == ([], [])


def test_who_begins_to_watch_while_drawing_sees_previews_within_two_seconds(studio: Studio) -> None:
    studio.order("ann", 1)
    for _ in range(12):
        studio.step()
    studio.bell.watched = {"ann"}
    began = studio.clock.now_s
    studio.draw_everything()

    assert studio.bell.sent[0][0] - began < 2


def test_redis_is_asked_once_a_second_and_not_at_all_without_work(studio: Studio) -> None:
    studio.order("ann", 2)
    began = studio.clock.now_s
    studio.draw_everything()
    asked = studio.bell.questions
    assert asked <= (studio.clock.now_s - began) / WATCHERS_EVERY_S + 2

    for _ in range(20):
        studio.clock.now_s += 1
        studio.previews.work()
    assert studio.bell.questions <= asked + 1


def test_who_is_behind_sends_the_newest_only(studio: Studio) -> None:
    studio.bell.watched = {"ann"}
    studio.order("ann", 1)
    for _ in range(4):
        studio.step()
    sent = len(studio.bell.sent)
    for _ in range(30):
        studio.step(send=False)
    studio.previews.work()

    late = studio.bell.sent[sent:]
    assert len(late) == 1
    assert late[0][2].step > 25


def test_a_preview_of_a_picture_that_left_the_engine_is_not_sent(studio: Studio) -> None:
    studio.bell.watched = {"ann"}
    studio.order("ann", 1)
    while not studio.previews._waiting:
        studio.step(send=False) if studio.previews._watched else studio.step()
    studio.desk.begin_finish("ann-0:1", within_s=10)
    sent = len(studio.bell.sent)
    studio.previews.work()

    assert len(studio.bell.sent) == sent


def test_without_redis_pictures_are_drawn_and_it_is_said_once(studio: Studio) -> None:
    studio.bell.watched = {"ann"}
    studio.bell.is_away = True
    studio.order("ann", 2)
    with structlog.testing.capture_logs() as logs:
        for _ in range(30):
            studio.step()
    assert [line["event"] for line in logs] == ["previews.redis_away"]

    studio.bell.is_away = False
    studio.draw_everything()
    assert studio.bell.sent


def test_trouble_with_previews_does_not_reach_the_engines_thread(studio: Studio) -> None:
    studio.desk.held = None  # type: ignore[assignment, method-assign]
    with structlog.testing.capture_logs() as logs:
        studio.order("ann", 1, steps=3)
        while studio.engine.has_work():
            studio.previews.take(studio.engine.step())
    assert [line["event"] for line in logs] == ["previews.broke"]


@pytest.fixture
def running(studio: Studio) -> Iterator[Studio]:
    studio.previews.start()
    yield studio
    studio.previews.end()
    assert not studio.previews.is_alive()


def test_the_thread_sends_what_the_engines_thread_takes(running: Studio) -> None:
    running.bell.watched = {"ann"}
    running.order("ann", 1)

    def step() -> Any:
        if running.engine.has_work():
            running.step(send=False)
        else:
            running.order("ann", 1)
        return running.bell.sent

    assert wait_until(step)[0][1] == "ann"


@pytest.mark.parametrize("size", [(32, 32), (128, 128), (105, 168), (400, 300)])
def test_a_preview_is_a_small_webp(size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)

    told_width, told_height, image = encode_preview(noise)

    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        assert picture.format == "WEBP"
        assert picture.size == (told_width, told_height)
        assert max(picture.size) == min(PREVIEW_PX, max(size))
    assert len(image) < 24_000  # of pure noise; pictures take a few kilobytes
