"""Pictures that are still on their way from the card: the engine draws on, and hands each out once it is there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from models.arrival import Decoded
from models.errors import BadPicture
from models.fake import FakeEngine, FakeTrouble
from models.profiles import TINY
from models.requests import Cancelled, Failed, Finished
from models.sample import Sample


@dataclass
class Journey:
    """A copy that is there when the test says so, or when it is waited for."""

    is_over: bool = False
    waits: int = 0

    def done(self) -> bool:
        return self.is_over

    def wait(self) -> None:
        self.is_over = True
        self.waits += 1


class FarEngine(FakeEngine):
    """The fake, with pictures that take a journey each."""

    def __init__(self) -> None:
        super().__init__(TINY, max_batch=4)
        self.journeys: list[Journey] = []

    def decode(self, samples: Sequence[Sample]) -> Decoded:
        self.journeys.append(Journey())
        return replace(super().decode(samples), arrival=self.journeys[-1])


@pytest.fixture
def engine() -> FarEngine:
    return FarEngine()


def step_until_decoded(engine: FarEngine) -> None:
    while engine.step().stage != "decode":
        pass


def test_the_others_are_drawn_while_a_picture_travels(engine: FarEngine, ask: Any) -> None:
    engine.submit(ask("short", steps=1))
    engine.submit(ask("long", steps=9))
    step_until_decoded(engine)
    reports = [engine.step() for _ in range(3)]
    assert [(report.stage, report.outcomes) for report in reports] == [("step", [])] * 3
    engine.journeys[0].is_over = True
    assert [outcome.key for outcome in engine.step().outcomes] == ["short"]
    assert engine.journeys[0].waits == 0


def test_a_travelling_picture_is_live_but_holds_no_row(engine: FarEngine, ask: Any) -> None:
    engine.submit(ask("a", steps=1))
    step_until_decoded(engine)
    assert engine.has_work()
    assert (engine.live_keys(), engine.free_rows()) == (("a",), 4)


def test_with_nothing_else_to_do_the_engine_waits_for_it(engine: FarEngine, ask: Any) -> None:
    engine.submit(ask("a", steps=1))
    step_until_decoded(engine)
    report = engine.step()
    assert [type(outcome) for outcome in report.outcomes] == [Finished]
    assert engine.journeys[0].waits == 1
    assert not engine.has_work()


def test_a_travelling_picture_can_be_cancelled(engine: FarEngine, ask: Any, drain: Any) -> None:
    engine.submit(ask("a", steps=1))
    engine.submit(ask("b", steps=1))
    step_until_decoded(engine)
    engine.cancel("a")
    outcomes = drain(engine)[0]
    assert outcomes["a"] == Cancelled(key="a")
    assert isinstance(outcomes["b"], Finished)


def test_a_cancelled_picture_that_arrives_is_not_taken_for_its_successor(
    engine: FarEngine, ask: Any, drain: Any
) -> None:
    engine.submit(ask("a", steps=1))
    step_until_decoded(engine)
    engine.cancel("a")
    assert engine.step().outcomes == [Cancelled(key="a")]
    engine.submit(ask("a", steps=3))
    assert drain(engine)[0]["a"].steps_run == 3


def test_a_bad_picture_is_noticed_when_it_arrives(engine: FarEngine, ask: Any, drain: Any) -> None:
    engine.trouble = {"a": FakeTrouble.NAN}
    engine.submit(ask("a", steps=1))
    engine.submit(ask("b", steps=1))
    outcomes = drain(engine)[0]
    assert isinstance(outcomes["a"], Failed)
    assert isinstance(outcomes["a"].error, BadPicture)
    assert isinstance(outcomes["b"], Finished)


def test_pictures_are_handed_out_in_the_order_they_were_decoded(engine: FarEngine, ask: Any) -> None:
    for index in range(4):
        engine.submit(ask(f"k{index}", steps=1 + index))
    seen = []
    while engine.has_work():
        if engine.journeys:
            engine.journeys[-1].is_over = True
        seen += [outcome.key for outcome in engine.step().outcomes]
    assert seen == ["k0", "k1", "k2", "k3"]


def test_a_closed_engine_has_forgotten_travelling_pictures(engine: FarEngine, ask: Any) -> None:
    engine.submit(ask("a", steps=1))
    step_until_decoded(engine)
    engine.close()
    assert not engine.has_work()
    assert engine.step().outcomes == []


def test_the_brightest_of_a_real_picture_is_nan_when_one_number_is(tiny_engine: Any) -> None:
    import torch

    pixels = torch.full((2, 8, 8, 3), 0.25)
    pixels[1, 3, 3, 1] = float("nan")
    decoded = tiny_engine.runner.to_host(pixels)
    assert np.array_equal(decoded.brightest, [0.25, np.nan], equal_nan=True)
