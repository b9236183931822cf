"""The engine on a real card: bf16, several pictures in flight, no wait in a step; compiled, it has tests of its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.inflight import InflightEngine
from models.loading import load_engine
from models.requests import Finished, Outcome, PictureRequest
from models.switches import Compiling

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[InflightEngine]:
    engine = load_engine("tiny", "cuda:0", cache_dir=tmp_path, max_batch=4, compile=Compiling.OFF)
    yield engine
    engine.close()


def request(key: str, *, precise: bool = False, steps: int = 8) -> PictureRequest:
    return PictureRequest(
        key=key,
        prompt="a person in a green room",
        control=Image.new("RGB", (256, 256), (0, 90, 0)),
        width=256,
        height=256,
        seed=7,
        steps=steps,
        guidance=3.5,
        control_scale=0.9,
        control_end=0.65,
        precise=precise,
    )


def drain(engine: InflightEngine) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    while engine.has_work():
        outcomes.update((outcome.key, outcome) for outcome in engine.step().outcomes)
    return outcomes


def pixels(outcome: Outcome) -> np.ndarray:
    assert isinstance(outcome, Finished)
    return outcome.pixels


def test_rows_at_different_steps_share_forwards_on_a_card(engine: InflightEngine) -> None:
    engine.submit(request("a", steps=8))
    engine.submit(request("b", steps=4))
    outcomes = drain(engine)
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}


def test_a_precise_picture_on_a_card_is_the_cpus(engine: InflightEngine, tmp_path: Path) -> None:
    engine.submit(request("a", precise=True))
    on_card = pixels(drain(engine)["a"])
    cpu = load_engine("tiny", "cpu", cache_dir=tmp_path)
    cpu.submit(request("a"))
    assert np.abs(on_card - pixels(drain(cpu)["a"])).mean() < 0.01


def test_a_bf16_picture_resembles_the_precise_one(engine: InflightEngine) -> None:
    engine.submit(request("plain"))
    engine.submit(request("precise", precise=True))
    outcomes = drain(engine)
    assert np.abs(pixels(outcomes["plain"]) - pixels(outcomes["precise"])).mean() < 0.1


@pytest.mark.parametrize("stage", ["encode", "step", "decode"])
def test_no_stage_waits_for_the_card(engine: InflightEngine, stage: str) -> None:
    engine.warm_up()  # fills caches
    engine.submit(request("a", steps=2))
    engine.submit(request("b", steps=20))
    reports = []
    while not reports or reports[-1].stage != stage:
        # torch's own detector of hidden synchronisations; Pace waits on an event, which it does not count.
        torch.cuda.set_sync_debug_mode("error")
        try:
            reports.append(engine.step())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert reports[-1].stage == stage


def test_previews_do_not_wait_for_the_card_and_change_nothing(engine: InflightEngine, tmp_path: Path) -> None:
    engine.warm_up()
    engine.submit(request("alone"))
    alone = pixels(drain(engine)["alone"])
    showing = load_engine("tiny", "cuda:0", cache_dir=tmp_path, max_batch=4, previews=True, compile=Compiling.OFF)
    showing.warm_up()
    showing.submit(request("a"))
    seen: list[int] = []
    outcomes: list[Outcome] = []
    while showing.has_work():
        showing.preview("a")
        torch.cuda.set_sync_debug_mode("error" if len(seen) > 1 and not outcomes else "default")
        try:
            report = showing.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        seen += [preview.step_index for preview in report.previews]
        outcomes += report.outcomes
    showing.close()
    assert len(seen) >= 6
    assert np.array_equal(pixels(outcomes[0]), alone)


def test_a_picture_arrives_beside_the_steps_of_others_and_is_the_one_drawn_alone(engine: InflightEngine) -> None:
    engine.submit(request("alone", precise=True, steps=2))
    alone = pixels(drain(engine)["alone"])
    engine.submit(request("short", precise=True, steps=2))
    engine.submit(request("long", precise=True, steps=20))
    outcomes = drain(engine)
    assert np.abs(pixels(outcomes["short"]) - alone).max() < 1e-2
