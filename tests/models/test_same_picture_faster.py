"""The switches that make drawing faster or smaller leave a picture its request's alone.

Each combination of modulation and velocity cache: the same picture by itself, among others, joining late, put back
in the middle. And what is exact is exact. In fp32 on the CPU; the measured differences are printed (`pytest -s`).
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from models.inflight import InflightEngine
from models.loading import load_engine
from models.requests import Finished, PictureRequest
from models.velocity_cache import _PATTERNS, CacheMode, full_steps

SIZE = (128, 128)
STEPS = 12
Open = Callable[[Literal["live", "tables"], CacheMode], InflightEngine]
each_combination = pytest.mark.parametrize(
    ("modulation", "cache"),
    [
        (modulation, cache)
        for modulation in ("live", "tables")
        for cache in CacheMode
        if (modulation, cache) != ("live", "off")
    ],
)


@pytest.fixture
def opened(models_dir: Path) -> Iterator[Open]:
    """Opens the built-in model with four rows: opened("tables", CacheMode.FAST)."""
    engines = []

    def load(modulation: Literal["live", "tables"], cache: CacheMode) -> InflightEngine:
        loaded = load_engine("tiny", "cpu", cache_dir=models_dir, modulation=modulation)
        engines.append(InflightEngine(loaded.runner, 4, cache=cache))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture
def wanted(ask: Any, pose: Any) -> PictureRequest:
    """The picture that all tests draw; its control ends in the middle of the steps that may be skipped."""
    return ask(
        "wanted",
        prompt="a woman on a red stage, arms raised",
        control=pose(SIZE, 0.8),
        seed=123456789,
        steps=STEPS,
        guidance=2.2,
        control_scale=0.75,
        control_end=0.6,
    )


@pytest.fixture
def neighbours(ask: Any, pose: Any) -> list[PictureRequest]:
    """Three that differ in everything a row may differ in; the one without control outlasts the wanted picture."""
    return [
        ask("n1", prompt="a blue room", control=pose(SIZE, -0.5), steps=11, guidance=5.0, control_end=1.0),
        ask("n2", prompt="a green forest at night", steps=22, guidance=1.0, seed=99),
        ask("n3", control=pose(SIZE, 0.1), steps=10, control_scale=1.4, control_end=0.3, seed=5),
    ]


def draw(engine: InflightEngine, requests: list[PictureRequest], drain: Any) -> dict[str, np.ndarray]:
    for request in requests:
        engine.submit(request)
    return pixels_of(drain(engine)[0])


def pixels_of(outcomes: dict[str, Any]) -> dict[str, np.ndarray]:
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    return {key: outcome.pixels for key, outcome in outcomes.items()}


def largest(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    difference = float(np.abs(ours - theirs).max())
    sys.stdout.write(f"\nlargest difference, {name}: {difference:.2e}\n")
    return difference


@each_combination
def test_a_picture_is_the_same_alone_in_a_batch_joining_late_and_put_back(
    opened: Open,
    wanted: Any,
    neighbours: Any,
    drain: Any,
    monkeypatch: pytest.MonkeyPatch,
    modulation: Literal["live", "tables"],
    cache: CacheMode,
) -> None:
    engine = opened(modulation, cache)
    alone = draw(engine, [wanted], drain)["wanted"]

    batched = draw(engine, [*neighbours[:2], wanted, neighbours[2]], drain)["wanted"]
    assert largest(f"{modulation}, {cache}: batch of 4", batched, alone) < 1e-4

    for request in neighbours:
        engine.submit(request)
    for _ in range(8):  # encode, and seven forwards: the neighbours are among their skipped steps
        engine.step()
    late = draw(engine, [wanted], drain)["wanted"]
    assert largest(f"{modulation}, {cache}: joining late", late, alone) < 1e-4

    for request in (neighbours[0], wanted):
        engine.submit(request)
    for _ in range(8):
        engine.step()
    denoise = engine.runner.denoise

    def crowded(latents: Any, *rest: Any) -> Any:
        if len(latents) > 1:
            raise torch.OutOfMemoryError("full")
        return denoise(latents, *rest)

    monkeypatch.setattr(engine.runner, "denoise", crowded)
    outcomes, reports = drain(engine)
    assert not any({"n1", "wanted"} <= {key for key, _, _ in report.rows} for report in reports)
    assert outcomes["wanted"].steps_run == STEPS
    assert largest(f"{modulation}, {cache}: put back", outcomes["wanted"].pixels, alone) < 1e-4


@pytest.mark.parametrize("cache", [CacheMode.SAFE, CacheMode.FAST])
def test_a_schedule_without_skipped_steps_is_the_picture_of_the_cache_switched_off(
    opened: Open, ask: Any, drain: Any, cache: CacheMode
) -> None:
    short = ask("short", steps=8, guidance=2.0)
    off = draw(opened("live", CacheMode.OFF), [short], drain)["short"]
    assert np.array_equal(draw(opened("live", cache), [short], drain)["short"], off)


@pytest.mark.parametrize("cache", [CacheMode.SAFE, CacheMode.FAST])
def test_a_cache_whose_mask_is_full_is_the_cache_switched_off(
    opened: Open, wanted: Any, drain: Any, monkeypatch: pytest.MonkeyPatch, cache: CacheMode
) -> None:
    off = draw(opened("live", CacheMode.OFF), [wanted], drain)["wanted"]
    full_steps.cache_clear()
    monkeypatch.setitem(_PATTERNS, cache, (True,))
    try:
        engine = opened("live", cache)
        engine.submit(wanted)
        finished = drain(engine)[0]["wanted"]
    finally:
        full_steps.cache_clear()
    assert finished.steps_skipped == 0
    assert np.array_equal(finished.pixels, off)


def test_a_lossy_cache_is_close_to_the_picture_without_and_not_the_same(opened: Open, wanted: Any, drain: Any) -> None:
    """Guards the comparisons above: steps are skipped, and skipping one is seen."""
    longer = replace(wanted, steps=16)  # of 12 steps both would skip the same ones
    off, safe, fast = (draw(opened("live", mode), [longer], drain)["wanted"] for mode in CacheMode)
    assert 1e-4 < largest("safe", safe, off) < 0.05
    assert 1e-4 < largest("fast", fast, off) < 0.2
    assert np.abs(fast - off).mean() > np.abs(safe - off).mean()


def test_skipped_steps_run_neither_network(opened: Open, wanted: Any, drain: Any) -> None:
    engine = opened("live", CacheMode.FAST)
    calls = {"transformer": 0, "controlnet": 0}

    def count(name: str) -> Callable[..., None]:
        def add(*_: Any) -> None:
            calls[name] += 1

        return add

    for name in calls:
        getattr(engine.runner.parts, name).register_forward_pre_hook(count(name))
    engine.submit(wanted)
    finished = drain(engine)[0]["wanted"]
    assert finished.steps_skipped > 0
    assert calls["transformer"] == STEPS - finished.steps_skipped
    assert calls["controlnet"] == 6  # of the seven that follow the control, one is skipped


@pytest.mark.parametrize("modulation", ["live", "tables"])
def test_a_skipped_controlnet_is_a_controlnet_of_scale_0(
    opened: Open, wanted: Any, drain: Any, monkeypatch: pytest.MonkeyPatch, modulation: Literal["live", "tables"]
) -> None:
    engine = opened(modulation, CacheMode.OFF)
    ran: list[Any] = []
    engine.runner.parts.controlnet.register_forward_hook(lambda *_: ran.append(True))
    weightless = replace(wanted, control_scale=0.0)
    skipped = draw(engine, [weightless], drain)["wanted"]
    assert not ran
    monkeypatch.setattr("models.sample.Sample.control_steps", STEPS)
    weighed = draw(engine, [weightless], drain)["wanted"]
    assert len(ran) == STEPS
    assert largest("scale 0", weighed, skipped) < 1e-6
