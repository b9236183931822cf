"""Pictures with LoRAs in the engine: forwards are shared by the same set only, and the others never notice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.adapters import MODULATION, write_lora

from models.batching import Batching
from models.errors import LoraMissing, LorasRefused, LoraUnfit, StrengthRefused
from models.fake import FakeEngine
from models.inflight import InflightEngine
from models.loading import load_engine
from models.loras import MOST_LORAS, Lora
from models.profiles import TINY
from models.requests import Failed, Finished


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with the LoRAs one and two."""
    write_lora(tmp_path, "one", seed=1)
    write_lora(tmp_path, "two", seed=2)
    return tmp_path


@pytest.fixture
def engine(models_dir: Path, shelf: Path) -> Iterator[InflightEngine]:
    """The built-in model with these LoRAs and four rows."""
    loaded = load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, loras_dir=shelf)
    yield loaded
    loaded.close()


def loras(**strengths: float) -> tuple[Lora, ...]:
    return tuple(Lora(name=name, strength=strength) for name, strength in strengths.items())


def pixels(outcomes: Any, key: str) -> np.ndarray[Any, Any]:
    assert isinstance(outcomes[key], Finished), outcomes[key]
    drawn: np.ndarray[Any, Any] = outcomes[key].pixels
    return drawn


def test_strength_zero_is_none_and_shares_its_forward(engine: InflightEngine, ask: Any, drain: Any) -> None:
    engine.submit(ask("plain"))
    engine.submit(ask("zero", loras=loras(one=0.0)))
    outcomes, reports = drain(engine)
    assert np.array_equal(pixels(outcomes, "plain"), pixels(outcomes, "zero"))
    assert {len(report.rows) for report in reports if report.rows} == {2}


def test_only_the_same_set_shares_a_forward(engine: InflightEngine, ask: Any, drain: Any) -> None:
    engine.submit(ask("a", loras=loras(one=1.0, two=0.5)))
    engine.submit(ask("b", loras=loras(two=0.5, one=1.0)))
    engine.submit(ask("c", loras=loras(one=1.0)))
    engine.submit(ask("d"))
    shared = {tuple(key for key, _, _ in report.rows) for report in drain(engine)[1] if report.rows}
    assert shared == {("a", "b"), ("c",), ("d",)}


def test_a_picture_without_loras_is_the_same_before_between_and_after(
    engine: InflightEngine, models_dir: Path, ask: Any, drain: Any
) -> None:
    never_had_any = load_engine("tiny", "cpu", cache_dir=models_dir)
    never_had_any.submit(ask("a"))
    wanted = pixels(drain(never_had_any)[0], "a")
    asked = ({}, {"one": 1.0}, {}, {"one": 1.0, "two": 2.0}, {"two": 1.0}, {}, {"one": 1.0})
    for number, strengths in enumerate(asked):
        engine.submit(ask(f"p{number}", loras=loras(**strengths)))
    outcomes, _ = drain(engine)
    drawn = [pixels(outcomes, f"p{number}") for number in range(len(asked))]
    assert all(np.array_equal(drawn[number], wanted) for number in (0, 2, 5))
    assert np.array_equal(drawn[1], drawn[6])
    assert len({picture.tobytes() for picture in drawn}) == 4


def test_higher_precision_is_with_the_same_loras_and_leaves_their_weights_as_they_were(
    engine: InflightEngine, ask: Any, drain: Any
) -> None:
    engine.submit(ask("first", loras=loras(one=1.0)))
    first = pixels(drain(engine)[0], "first")
    before = {name: tensor.clone() for name, tensor in engine.runner.parts.transformer.state_dict().items()}
    engine.submit(ask("precise", loras=loras(one=1.0), precise=True))
    engine.submit(ask("plain"))
    outcomes, _ = drain(engine)
    assert np.abs(first - pixels(outcomes, "precise")).max() < 1e-3
    assert np.abs(first - pixels(outcomes, "plain")).max() > 1e-2
    after = engine.runner.parts.transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_lora_that_is_loaded_for_a_precise_picture_is_not_left_wide(
    engine: InflightEngine, ask: Any, drain: Any
) -> None:
    engine.submit(ask("precise", precise=True))
    engine.submit(ask("precise-one", precise=True, loras=loras(one=1.0)))
    engine.submit(ask("one", loras=loras(one=1.0)))
    outcomes, _ = drain(engine)
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    assert {str(tensor.dtype) for tensor in engine.runner.parts.transformer.parameters()} == {"torch.float32"}


def test_a_newcomer_learns_what_it_must_have_to_join(engine: InflightEngine, ask: Any, drain: Any) -> None:
    assert engine.current_loras() is None
    engine.submit(ask("a", loras=loras(two=0.0, one=0.5)))
    assert engine.current_loras() == loras(one=0.5)
    drain(engine)
    assert engine.current_loras() is None


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (loras(three=1.0), LoraMissing),
        (loras(one=2.5), StrengthRefused),
        (loras(one=float("nan")), StrengthRefused),
        ((Lora(name="one"), Lora(name="one", strength=0.5)), LorasRefused),
        (tuple(Lora(name=f"l{number}", strength=0) for number in range(MOST_LORAS + 1)), LorasRefused),
    ],
)
def test_a_set_that_cannot_be_drawn_is_refused_at_once(
    engine: InflightEngine, ask: Any, asked: tuple[Lora, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.submit(ask("a", loras=asked))
    assert not engine.has_work()


def test_a_lora_that_only_shows_its_fault_when_tried_fails_its_pictures_alone(
    models_dir: Path, shelf: Path, ask: Any, drain: Any
) -> None:
    write_lora(shelf, "modulating", layers=MODULATION)
    engine = load_engine("tiny", "cpu", cache_dir=models_dir, loras_dir=shelf, modulation="tables")
    engine.submit(ask("a", loras=loras(modulating=1.0)))
    engine.submit(ask("b", loras=loras(one=1.0)))
    engine.submit(ask("c"))
    outcomes, _ = drain(engine)
    assert isinstance(outcomes["a"], Failed)
    assert isinstance(outcomes["a"].error, LoraUnfit)
    assert not np.array_equal(pixels(outcomes, "b"), pixels(outcomes, "c"))


def test_modulation_tables_and_loras_draw_what_live_modulation_draws(
    engine: InflightEngine, models_dir: Path, shelf: Path, ask: Any, drain: Any
) -> None:
    tables = load_engine("tiny", "cpu", cache_dir=models_dir, loras_dir=shelf, modulation="tables")
    drawn = []
    for one in (engine, tables):
        one.submit(ask("a", loras=loras(one=1.0, two=0.5)))
        drawn.append(pixels(drain(one)[0], "a"))
    assert np.abs(drawn[0] - drawn[1]).max() < 1e-4


def test_the_fake_engine_keeps_to_the_same_lanes_and_shows_the_loras(ask: Any, drain: Any) -> None:
    fake = FakeEngine(TINY, 4)
    fake.submit(ask("a", loras=loras(one=1.0)))
    fake.submit(ask("b", loras=loras(one=1.0)))
    fake.submit(ask("c"))
    outcomes, _ = drain(fake)
    assert set(fake.forwards) == {("a", "b"), ("c",)}
    assert np.array_equal(pixels(outcomes, "a"), pixels(outcomes, "b"))
    assert not np.array_equal(pixels(outcomes, "a"), pixels(outcomes, "c"))


def test_lack_of_memory_is_remembered_for_the_size_whatever_the_loras(ask: Any) -> None:
    batching = Batching(TINY, 4)
    for key in "abcd":
        batching.submit(ask(key, loras=loras(one=1.0)))
    assert batching.halve_rows(batching.decide().rows)
    assert batching.row_limit((128, 128, False, ())) == 2
    assert batching.row_limit((256, 256, False, ())) == 4
