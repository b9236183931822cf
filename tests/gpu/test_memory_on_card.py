"""The ways of the memory plan on a real card: pinned memory, streams, and the libraries' own kernels."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.inflight import InflightEngine
from models.loading import load_engine, plan_for
from models.memory_plan import Modulation, Offload, TextPlace, WeightPrecision
from models.requests import Finished, PictureRequest
from models.switches import Compiling

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]

CARD = "cuda:0"
Load = Callable[..., InflightEngine]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    engines: list[InflightEngine] = []

    def make(precision: WeightPrecision | None = None, **changes: Any) -> InflightEngine:
        plan = plan_for("tiny", CARD, cache_dir=tmp_path, precision=precision)
        assert plan is not None
        engine = load_engine(
            "tiny", CARD, cache_dir=tmp_path, max_batch=2, plan=replace(plan, **changes), compile=Compiling.OFF
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


def drawn(engine: InflightEngine) -> np.ndarray:
    """Draw two orders, so that whatever left comes back; all pixels."""
    pictures = []
    for prompt in ("a woman in red", "a man in a forest"):
        for seed in range(2):
            engine.submit(
                PictureRequest(
                    key=f"{seed}",
                    prompt=prompt,
                    control=Image.new("RGB", (128, 128), (0, 90, 0)),
                    width=128,
                    height=128,
                    seed=seed,
                    steps=4,
                    guidance=3.5,
                    control_scale=0.9,
                    control_end=0.65,
                )
            )
        outcomes = {}
        while engine.has_work():
            outcomes.update((outcome.key, outcome) for outcome in engine.step().outcomes)
        for key in sorted(outcomes):
            outcome = outcomes[key]
            assert isinstance(outcome, Finished)
            pictures.append(outcome.pixels)
    return np.stack(pictures)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": TextPlace.MOVED},
        {"text": TextPlace.STREAMED},
        {"offload": Offload.CONTROLNET},
        {"offload": Offload.BOTH},
        {"text": TextPlace.STREAMED, "modulation": Modulation.TABLES, "offload": Offload.BOTH},
    ],
    ids=lambda changes: "-".join(changes.values()),
)
def test_where_networks_wait_changes_no_picture_on_a_card(load: Load, changes: dict[str, Any]) -> None:
    resident = drawn(load(modulation=changes.get("modulation", Modulation.LIVE)))
    assert np.array_equal(drawn(load(**changes)), resident)


@pytest.mark.parametrize("text", [TextPlace.MOVED, TextPlace.STREAMED])
def test_text_encoders_leave_the_card(load: Load, text: TextPlace) -> None:
    engine = load(text=text)
    drawn(engine)
    devices = {tensor.device.type for tensor in engine.runner.parts.text_encoder_2.parameters()}
    assert devices == {"cpu"}
    assert all(tensor.is_pinned() for tensor in engine.runner.parts.text_encoder.parameters())


def test_streamed_blocks_leave_the_card(load: Load) -> None:
    engine = load(offload=Offload.BOTH)
    drawn(engine)
    blocks: Any = engine.runner.parts.transformer.transformer_blocks
    assert {tensor.device.type for tensor in blocks[0].parameters()} == {"cpu"}


@pytest.mark.parametrize("precision", [WeightPrecision.FP8, WeightPrecision.INT8, WeightPrecision.NF4])
def test_smaller_weights_draw_on_a_card(load: Load, precision: WeightPrecision) -> None:
    pytest.importorskip("bitsandbytes" if precision is WeightPrecision.NF4 else "torchao")
    small = drawn(load(precision=precision))
    assert np.abs(small - drawn(load())).mean() < 0.1


def test_a_card_chooses_its_batches_by_itself(tmp_path: Path) -> None:
    engine = load_engine("tiny", CARD, cache_dir=tmp_path, compile=Compiling.OFF)
    engine.warm_up()
    assert engine.measured
    assert 1 <= engine.max_batch <= 8
    engine.close()
