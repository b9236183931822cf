"""Warming up: how many rows fit, and how many of each size are worth sharing a forward."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.batching import Batching
from models.errors import CardFailed, OutOfMemory
from models.inflight import InflightEngine
from models.memory_plan import GIB, plan_memory
from models.profiles import TINY
from models.sample import Sample
from models.stepping import DoesNotFit
from models.warming import choose_batches

LARGE, SMALL = (256, 256), (128, 128)


class Paper:
    """An engine whose forwards take what is written down, and that holds so many rows."""

    def __init__(self, forward_s: Callable[[tuple[int, int], int], float], holds: int = 8) -> None:
        self.profile = TINY
        self.batching = Batching(TINY, max_batch=8)
        self.rehearsed: list[tuple[tuple[int, int], int]] = []
        self._forward_s, self._holds = forward_s, holds

    def rehearse(self, samples: list[Sample], forwards: int) -> float:
        size = samples[0].request.size
        self.rehearsed.append((size, len(samples)))
        if len(samples) > self._holds:
            raise DoesNotFit("full")
        return self._forward_s(size, len(samples))


def full_with_one(size: tuple[int, int], rows: int) -> float:
    """Large pictures gain nothing from each other, small ones everything."""
    return float(rows) if size != SMALL else 1.0


def test_every_size_gets_the_batch_that_is_worth_it() -> None:
    engine = Paper(full_with_one)
    measured = choose_batches(engine)
    assert (engine.batching.size_limit(LARGE), engine.batching.size_limit(SMALL)) == (1, 8)
    assert measured[SMALL] == {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}


def test_alike_sizes_are_measured_once() -> None:
    engine = Paper(full_with_one)
    choose_batches(engine)
    assert {size for size, _ in engine.rehearsed} == {LARGE, (192, 256), SMALL}
    assert engine.batching.size_limit((256, 192)) == 1


def test_memory_bounds_the_choice() -> None:
    engine = Paper(lambda *_: 1.0, holds=3)
    choose_batches(engine)
    assert {engine.batching.size_limit(size) for size in TINY.sizes} == {2}
    assert all(rows <= 4 for _, rows in engine.rehearsed)


def test_what_a_plan_has_no_room_for_is_not_tried() -> None:
    engine = Paper(lambda *_: 1.0)
    engine.batching.limit_size(LARGE, 3)
    choose_batches(engine)
    assert max(rows for size, rows in engine.rehearsed if size == LARGE) == 2
    assert engine.batching.size_limit(LARGE) == 2


def test_a_size_of_which_not_one_picture_fits_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory):
        choose_batches(Paper(full_with_one, holds=0))


def test_the_real_engine_measures_and_limits_itself(tiny_engine: InflightEngine, ask: Any, drain: Any) -> None:
    plan = plan_memory(TINY, 2 * GIB)
    tiny_engine.follow(plan, chooses_batches=True)
    tiny_engine.warm_up()
    assert set(tiny_engine.measured) == {LARGE, (192, 256), SMALL}
    assert all(0 < seconds < 60 for by_batch in tiny_engine.measured.values() for seconds in by_batch.values())
    limits = {size: tiny_engine.batching.size_limit(size) for size in TINY.sizes}
    assert tiny_engine.max_batch == max(limits.values())
    for seed in range(4):
        tiny_engine.submit(ask(f"{seed}", seed=seed, width=256, height=256, steps=1))
    reports = drain(tiny_engine)[1]
    assert max(len(report.rows) for report in reports) == min(4, limits[LARGE])


def test_a_broken_device_is_found_while_measuring(tiny_engine: InflightEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: device lost")

    tiny_engine.follow(plan_memory(TINY, 2 * GIB), chooses_batches=True)
    monkeypatch.setattr(tiny_engine.runner, "denoise", broken)
    with pytest.raises(CardFailed, match="device lost"):
        tiny_engine.warm_up()


def test_an_engine_keeps_no_more_than_its_plan_has_room_for(tiny_engine: InflightEngine, ask: Any, drain: Any) -> None:
    tiny_engine.follow(replace(plan_memory(TINY, 2 * GIB), kept_prompts=1), chooses_batches=False)
    encoded: list[int] = []
    tiny_engine.runner.parts.text_encoder.register_forward_pre_hook(lambda *_: encoded.append(1))
    for prompt in ("one", "two", "one"):
        tiny_engine.submit(ask(prompt, prompt=prompt, steps=1))
        drain(tiny_engine)
    assert len(encoded) == 3
