"""When memory, numbers or the device fail: nobody else's picture is lost, and each failure has its own error."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.errors import BadPicture, CardFailed, OutOfMemory
from models.fake import FakeEngine
from models.profiles import TINY
from models.requests import Failed, Finished


def fake(**trouble: str) -> FakeEngine:
    return FakeEngine(TINY, max_batch=4, trouble=trouble)


def test_a_crowded_forward_is_split_and_no_sample_is_lost(ask: Any, drain: Any) -> None:
    engine = fake(b="crowded")
    for key in "abcd":
        engine.submit(ask(key))
    outcomes, _ = drain(engine)
    assert {key: type(outcome) for key, outcome in outcomes.items()} == dict.fromkeys("abcd", Finished)
    assert max(len(rows) for rows in engine.forwards) == 1


def test_a_full_batch_is_tried_again_when_smaller_ones_fitted_for_long(ask: Any, drain: Any) -> None:
    engine = fake(b="crowded")
    for key in "abcd":
        engine.submit(ask(key))
    drain(engine)
    engine.trouble = {}
    for turn in range(20):
        for index in range(4):
            engine.submit(ask(f"{turn}-{index}", steps=20))
        drain(engine)
    assert len(engine.forwards[-1]) == 4


def test_a_sample_put_back_goes_on_at_its_step(ask: Any, drain: Any) -> None:
    engine = fake()
    for key in "ab":
        engine.submit(ask(key, steps=6))
    while not engine.step().rows:
        pass
    engine.trouble = dict.fromkeys("ab", "crowded")  # type: ignore[assignment]
    outcomes, _ = drain(engine)
    assert outcomes["b"].steps_run == 6
    assert sum("b" in rows for rows in engine.forwards) == 6


def test_a_picture_that_does_not_fit_alone_fails_and_the_others_are_drawn(ask: Any, drain: Any) -> None:
    engine = fake(a="oom")
    for key in "ab":
        engine.submit(ask(key))
    outcomes, _ = drain(engine)
    assert isinstance(outcomes["a"], Failed)
    assert isinstance(outcomes["a"].error, OutOfMemory)
    assert isinstance(outcomes["b"], Finished)


@pytest.mark.parametrize("kind", ["nan", "black"])
def test_a_bad_picture_is_tried_once_more_and_then_fails(ask: Any, drain: Any, kind: str) -> None:
    engine = fake(a=kind)
    engine.submit(ask("a", steps=2))
    outcomes, _ = drain(engine)
    assert isinstance(outcomes["a"].error, BadPicture)
    assert len(engine.forwards) == 4


def test_a_picture_that_is_good_in_higher_precision_is_delivered(ask: Any, drain: Any) -> None:
    engine = fake(a="nan_once")
    engine.submit(ask("a", steps=2))
    finished = drain(engine)[0]["a"]
    assert isinstance(finished, Finished)
    assert finished.steps_run == 2


def test_a_second_try_is_drawn_alone(ask: Any, drain: Any) -> None:
    engine = fake(a="nan_once")
    engine.submit(ask("a", steps=1))
    engine.submit(ask("b", steps=4))
    drain(engine)
    assert engine.forwards == [("a", "b"), ("b",), ("b",), ("b",), ("a",)]


def test_a_broken_card_ends_the_step(ask: Any) -> None:
    engine = fake(a="crash")
    engine.submit(ask("a"))
    engine.step()
    with pytest.raises(CardFailed):
        engine.step()


def test_the_fake_takes_the_time_it_is_told(ask: Any, drain: Any) -> None:
    slept: list[float] = []
    engine = FakeEngine(TINY, step_s=0.5, encode_s=0.25, decode_s=0.125, sleep=slept.append)
    engine.submit(ask("a", steps=2))
    drain(engine)
    assert slept == [0.25, 0.5, 0.5, 0.125]


@pytest.mark.parametrize(("asked", "outcome"), [(True, Failed), (False, Finished)])
def test_prompts_make_trouble_only_where_that_was_asked_for(ask: Any, drain: Any, asked: bool, outcome: type) -> None:
    engine = FakeEngine(TINY, 4, prompts_trouble=asked)
    engine.submit(ask("a", prompt="a woman, trouble-black, in the rain"))

    outcomes, _reports = drain(engine)
    assert isinstance(outcomes["a"], outcome)


def test_a_picture_can_take_its_process_with_it(tmp_path: Path) -> None:
    script = """
from models.fake import FakeEngine
from models.profiles import TINY
from models.requests import PictureRequest
engine = FakeEngine(TINY, prompts_trouble=True)
engine.submit(PictureRequest(key="a", prompt="trouble-vanish", control=None, width=256, height=256, seed=1, steps=4,
                             guidance=1.0, control_scale=0.0, control_end=0.0))
while engine.has_work():
    engine.step()
"""
    gone = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)

    assert gone.returncode == -signal.SIGKILL
