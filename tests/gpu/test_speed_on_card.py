"""Compiled blocks, attention and fp8 on a real card: Triton's code draws the pictures of the plain networks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.adapters import write_lora
from torch._dynamo.utils import counters

from models.attention import choose_attention
from models.compiling import COMPILED
from models.errors import AttentionMissing
from models.inflight import InflightEngine
from models.loading import load_engine, plan_for
from models.loras import Lora
from models.memory_plan import Modulation, WeightPrecision
from models.requests import Finished, PictureRequest
from models.switches import AttentionKind, Compiling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card"),
    pytest.mark.timeout(600),
    # The compiler's own: TF32 is off on purpose, and others that change with its versions.
    pytest.mark.filterwarnings("default"),
]

CARD = "cuda:0"
CLOSE = 0.05
"""Mean difference of a pixel (0..1) between two ways to round in bf16; other pictures differ by 0.2 and more."""
Load = Callable[..., InflightEngine]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_lora(folder / "loras", "one")
    return folder


@pytest.fixture(scope="module")
def load(models_dir: Path) -> Iterator[Load]:
    engines: list[InflightEngine] = []

    def make(compiling: Compiling, precision: WeightPrecision | None = None, **changes: Any) -> InflightEngine:
        plan = plan_for("tiny", CARD, cache_dir=models_dir, precision=precision)
        assert plan is not None
        engine = load_engine(
            "tiny", CARD, cache_dir=models_dir, max_batch=5, plan=replace(plan, **changes), compile=compiling
        )
        engine.warm_up()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def plain(load: Load) -> InflightEngine:
    return load(Compiling.OFF)


@pytest.fixture(scope="module")
def compiled(load: Load) -> InflightEngine:
    return load(Compiling.AUTO)


def requests() -> list[PictureRequest]:
    """Five pictures of the size that is warm, which follow a pose for different times."""
    return [
        PictureRequest(
            key=f"{row}",
            prompt=f"a person in room {row}",
            control=Image.new("RGB", (256, 256), (0, 90, 0)) if row < 3 else None,
            width=256,
            height=256,
            seed=row,
            steps=6 + row,
            guidance=3.5,
            control_scale=0.9,
            control_end=0.2 + 0.2 * row,
        )
        for row in range(5)
    ]


def draw(engine: InflightEngine, wanted: list[PictureRequest]) -> dict[str, np.ndarray]:
    for request in wanted:
        engine.submit(request)
    outcomes: dict[str, Any] = {}
    while engine.has_work():
        outcomes.update((outcome.key, outcome) for outcome in engine.step().outcomes)
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}
    return {key: outcome.pixels for key, outcome in outcomes.items()}


def largest_mean(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(ours[key] - theirs[key]).mean()) for key in ours)


def test_a_card_compiles_by_itself_and_draws_the_same_pictures(plain: InflightEngine, compiled: InflightEngine) -> None:
    assert (plain.compiled, compiled.compiled) == (False, True)
    expected = draw(plain, requests())
    assert largest_mean(draw(compiled, requests()), expected) < CLOSE
    assert compiled.runner.blocks.failure is None


def test_alone_and_joining_late_are_the_picture_of_the_batch_when_compiled(compiled: InflightEngine) -> None:
    together = draw(compiled, requests())
    assert largest_mean(draw(compiled, requests()[:1]), together) < CLOSE
    for request in requests()[1:]:
        compiled.submit(request)
    for _ in range(4):
        compiled.step()
    assert largest_mean(draw(compiled, requests()[:1]), together) < CLOSE


def test_nothing_is_compiled_after_warming_up(compiled: InflightEngine) -> None:
    before = counters["stats"]["unique_graphs"]
    wanted = requests()
    draw(compiled, wanted)
    draw(compiled, [replace(wanted[0], precise=True)])
    draw(compiled, [replace(wanted[1], loras=(Lora(name="one"),))])
    draw(compiled, wanted[:3])
    assert counters["stats"]["unique_graphs"] == before


def test_a_compiled_step_does_not_wait_for_the_card(compiled: InflightEngine) -> None:
    for request in requests():
        compiled.submit(request)
    compiled.step()
    for _ in range(4):
        torch.cuda.set_sync_debug_mode("error")
        try:
            assert compiled.step().stage == "step"
        finally:
            torch.cuda.set_sync_debug_mode("default")
    draw(compiled, [])


def test_tables_are_compiled_too(load: Load, plain: InflightEngine) -> None:
    tables = load(Compiling.ON, modulation=Modulation.TABLES)
    assert largest_mean(draw(tables, requests()), draw(plain, requests())) < CLOSE
    assert tables.compiled


@pytest.mark.parametrize("precision", [WeightPrecision.FP8, WeightPrecision.INT8])
def test_smaller_weights_are_compiled_too(load: Load, plain: InflightEngine, precision: WeightPrecision) -> None:
    pytest.importorskip("torchao")
    small = load(Compiling.AUTO, precision)
    assert largest_mean(draw(small, requests()), draw(plain, requests())) < 0.1
    assert small.compiled, small.runner.blocks.failure


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9), reason="the card multiplies no fp8"
)
def test_fp8_quantises_activations_row_by_row(load: Load) -> None:
    pytest.importorskip("torchao")
    parts: Any = load(Compiling.OFF, WeightPrecision.FP8).runner.parts
    weight = parts.transformer.transformer_blocks[0].attn.to_q.weight
    assert weight.scale.shape == (len(weight), 1)
    assert weight.act_quant_kwargs is not None


@pytest.mark.parametrize("kind", [AttentionKind.CUDNN, AttentionKind.FLASH, AttentionKind.FLASH3])
def test_every_attention_that_is_there_draws_the_same_pictures(
    models_dir: Path, plain: InflightEngine, kind: AttentionKind
) -> None:
    try:
        engine = load_engine("tiny", CARD, cache_dir=models_dir, max_batch=5, compile=Compiling.OFF, attention=kind)
    except AttentionMissing as e:
        pytest.skip(str(e))
    assert engine.attention == kind.value
    expected = draw(plain, requests())
    assert largest_mean(draw(engine, requests()), expected) < CLOSE
    precise = [replace(request, precise=True) for request in requests()[:1]]
    assert largest_mean(draw(engine, precise), draw(plain, precise)) < 1e-4
    engine.close()


def test_a_hopper_card_or_a_newer_one_has_a_quicker_attention_than_torchs_choice() -> None:
    if torch.cuda.get_device_capability()[0] < 9:
        pytest.skip("an older card")
    kind = choose_attention(AttentionKind.AUTO, torch.device(CARD), torch.bfloat16, 128)
    assert kind in (AttentionKind.CUDNN, AttentionKind.FLASH3)


def test_compiled_code_is_kept_for_processes_to_come(compiled: InflightEngine) -> None:
    assert compiled.compiled
    folder = Path(torch._inductor.runtime.cache_dir_utils.cache_dir())
    assert folder.name == COMPILED
    assert list((folder / "fxgraph").rglob("*"))
