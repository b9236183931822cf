"""Compiled blocks draw what the networks draw without, in warm parts, and nothing that goes wrong with them is seen.

With torch's tracing and a compiler of its own that makes no machine code (`aot_eager`): that takes a second a shape,
and the C++ compiler a minute. `tests/gpu` has the same with Triton's code.
"""

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
from support.adapters import write_lora
from torch._dynamo.utils import counters

from models.adapters import Adapters
from models.batch_choice import BUCKETS, warm_parts
from models.compiling import CompiledBlocks, compile_blocks
from models.errors import CardFailed
from models.inflight import InflightEngine
from models.loading import load_engine
from models.loras import Lora
from models.memory_plan import Offload, plan_memory
from models.profiles import TINY
from models.requests import Finished, PictureRequest
from models.runner import FluxRunner
from models.switches import Compiling

SIZE = (128, 128)


def graphs() -> int:
    """How many blocks were compiled in this process so far."""
    return int(counters["stats"]["unique_graphs"])


def compiled_engine(plain: InflightEngine, backend: Any, loras_dir: Path | None = None) -> InflightEngine:
    parts = plain.runner.parts
    blocks = CompiledBlocks((parts.transformer, parts.controlnet), backend=backend)
    runner = FluxRunner(plain.profile, parts, blocks=blocks)
    adapters = (
        Adapters(parts.transformer, loras_dir, precomputed=False, sets_aside=True) if loras_dir is not None else None
    )
    return InflightEngine(runner, 5, adapters=adapters)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    write_lora(folder, "one", seed=1)
    write_lora(folder, "two", seed=2, layers=("single_transformer_blocks.0.proj_out",))
    return folder


@pytest.fixture(scope="module")
def pair(models_dir: Path, shelf: Path) -> Iterator[tuple[InflightEngine, InflightEngine]]:
    """The built-in model twice: without compiled blocks, and with them, for five rows."""
    plain = load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=5, loras_dir=shelf)
    compiled = compiled_engine(load_engine("tiny", "cpu", cache_dir=models_dir), "aot_eager", shelf)
    compiled.profile = compiled.batching.profile = replace(TINY, default_size=SIZE)
    compiled.warm_up()
    yield plain, compiled
    plain.close()
    compiled.close()


@pytest.fixture
def wanted(ask: Any, pose: Any) -> list[PictureRequest]:
    """Five pictures that differ in everything, three of which follow a pose for a while."""
    return [
        ask("a", prompt="a woman on a red stage", control=pose(SIZE, 0.8), steps=6, guidance=2.2, control_end=0.6),
        ask("b", prompt="a blue room", control=pose(SIZE, -0.5), steps=5, seed=3, control_end=1.0),
        ask("c", control=pose(SIZE, 0.1), steps=4, control_scale=1.4, control_end=0.5, seed=5),
        ask("d", prompt="a green forest at night", steps=6, guidance=1.0, seed=99),
        ask("e", prompt="snow", steps=3, seed=8),
    ]


def draw(engine: InflightEngine, requests: list[PictureRequest], drain: Any) -> dict[str, np.ndarray]:
    for request in requests:
        engine.submit(request)
    outcomes = drain(engine)[0]
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}
    return {key: outcome.pixels for key, outcome in outcomes.items()}


def largest(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    difference = float(np.abs(ours - theirs).max())
    sys.stdout.write(f"\nlargest difference, {name}: {difference:.2e}\n")
    return difference


@pytest.mark.parametrize("rows", range(1, 20))
def test_warm_parts_are_warm_batches_that_add_up(rows: int) -> None:
    parts = warm_parts(rows)
    assert sum(parts) == rows
    assert set(parts) <= set(BUCKETS)
    assert list(parts) == sorted(parts, reverse=True)


def test_five_rows_run_as_four_and_one_and_three_controls_as_two_and_one(pair: Any, wanted: Any, drain: Any) -> None:
    engine = pair[1]
    seen: dict[str, list[int]] = {"transformer": [], "controlnet": []}
    hooks = [
        getattr(engine.runner.parts, name).register_forward_pre_hook(
            lambda _module, _args, kwargs, rows=rows: rows.append(len(kwargs["hidden_states"])), with_kwargs=True
        )
        for name, rows in seen.items()
    ]
    for request in wanted:
        engine.submit(request)
    engine.step()
    engine.step()
    for hook in hooks:
        hook.remove()
    assert seen == {"transformer": [4, 1], "controlnet": [2, 1]}
    drain(engine)


def test_compiled_pictures_are_the_same_in_parts_alone_and_joining_late(pair: Any, wanted: Any, drain: Any) -> None:
    plain, compiled = pair
    expected = draw(plain, wanted, drain)
    together = draw(compiled, wanted, drain)
    alone = draw(compiled, wanted[:1], drain)
    for request in wanted[1:]:
        compiled.submit(request)
    for _ in range(3):
        compiled.step()
    late = draw(compiled, wanted[:1], drain)
    assert max(largest(f"{key}: compiled", together[key], expected[key]) for key in expected) < 1e-4
    assert largest("alone", alone["a"], expected["a"]) < 1e-4
    assert largest("joining late", late["a"], expected["a"]) < 1e-4


def test_after_warming_up_nothing_is_compiled_whoever_draws(pair: Any, wanted: Any, drain: Any) -> None:
    """Another thread than the one that warmed up, with and without control, after a precise picture and after LoRAs."""
    engine = pair[1]
    before = graphs()
    assert before >= 6
    loras = (Lora(name="one"), Lora(name="two"))
    orders = [
        wanted,
        [replace(wanted[0], precise=True)],
        [replace(wanted[1], loras=loras[:1])],
        wanted[:3],
        [replace(wanted[1], loras=loras)],
        wanted[2:],
    ]
    thread = threading.Thread(target=lambda: [draw(engine, order, drain) for order in orders])
    thread.start()
    thread.join()
    assert graphs() == before
    assert engine.compiled


def test_precise_pictures_and_loras_are_drawn_without_compiled_code(
    pair: Any, wanted: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, compiled = pair
    shorter = [replace(request, steps=2) for request in wanted[2:]]
    adapted = [replace(request, loras=(Lora(name="one"),)) for request in shorter]
    precise = [replace(request, key=f"{request.key}-precise", precise=True) for request in shorter]
    expected = draw(plain, [*adapted, *precise], drain)

    def forbidden(*_: Any) -> None:
        raise AssertionError("compiled code is run")

    monkeypatch.setattr(compiled.runner.blocks, "_in_force", forbidden)
    drawn = draw(compiled, [*adapted, *precise], drain)
    assert all(np.array_equal(drawn[key], expected[key]) for key in expected)


def test_a_picture_after_loras_is_the_one_before_them(pair: Any, wanted: Any, drain: Any) -> None:
    compiled = pair[1]
    before = draw(compiled, wanted[:1], drain)["a"]
    other = draw(compiled, [replace(wanted[0], loras=(Lora(name="one"),))], drain)["a"]
    after = draw(compiled, wanted[:1], drain)["a"]
    assert np.abs(before - other).max() > 1e-2
    assert np.array_equal(before, after)


def test_a_new_size_is_compiled_when_it_is_met_and_says_so(pair: Any, ask: Any, drain: Any) -> None:
    engine = pair[1]
    engine.submit(ask("a", width=192, height=256, steps=2))
    said = []
    encode = engine.encode

    def look(rows: Any) -> None:
        said.append(engine.is_preparing())
        encode(rows)

    engine.encode = look
    reports = []
    while engine.has_work():
        reports.append((engine.step().stage, engine.is_preparing()))
    del engine.encode
    assert said == [False]
    assert [prepares for stage, prepares in reports if stage == "step"] == [True, False]


def test_tables_are_compiled_too(models_dir: Path, wanted: Any, drain: Any) -> None:
    plain = load_engine("tiny", "cpu", cache_dir=models_dir, modulation="tables", max_batch=2)
    compiled = compiled_engine(plain, "eager")
    order = [replace(wanted[0], steps=2)]
    expected = draw(plain, order, drain)
    before = graphs()
    drawn = draw(compiled, order, drain)
    assert graphs() > before
    assert max(largest(f"tables: {key}", drawn[key], expected[key]) for key in expected) < 1e-4


def test_a_compiler_that_fails_costs_no_picture_and_says_so_once(
    models_dir: Path, wanted: Any, drain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def broken(*_: Any) -> Any:
        tried.append(1)
        raise RuntimeError("no working compiler\n" + "further lines\n" * 100)

    plain = load_engine("tiny", "cpu", cache_dir=models_dir)
    engine = compiled_engine(plain, broken)
    engine.profile = engine.batching.profile = replace(TINY, default_size=SIZE)
    assert engine.compiled
    engine.warm_up()
    assert not engine.compiled
    assert len(tried) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "models.compiling"]
    assert len(said) == 1
    assert "no working compiler" in said[0]
    assert len(said[0]) < 500
    assert draw(engine, wanted[3:], drain).keys() == {"d", "e"}


def test_lack_of_memory_while_compiling_makes_batches_smaller(models_dir: Path, wanted: Any, drain: Any) -> None:
    def crowded(graph: Any, inputs: Any) -> Any:
        if any(isinstance(tensor, torch.Tensor) and tensor.ndim == 3 and len(tensor) > 2 for tensor in inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")  # dynamo wraps it
        return graph.forward

    engine = compiled_engine(load_engine("tiny", "cpu", cache_dir=models_dir), crowded)
    for request in wanted:
        engine.submit(replace(request, control=None, steps=1))
    while not any(report.rows for report in (engine.step(),)):
        pass
    assert engine.batching.row_limit((*SIZE, False, ())) == 2
    assert engine.compiled


def test_a_broken_card_is_no_fault_of_the_compiler(models_dir: Path, wanted: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: device lost")

    engine = compiled_engine(load_engine("tiny", "cpu", cache_dir=models_dir), lambda graph, _: graph.forward)
    engine.runner.parts.transformer.forward = broken
    engine.submit(wanted[3])
    engine.step()
    with pytest.raises(CardFailed, match="device lost"):
        engine.step()
    assert engine.compiled


def test_what_fails_without_compiled_code_too_is_no_fault_of_it(models_dir: Path, wanted: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("wrong")

    engine = compiled_engine(load_engine("tiny", "cpu", cache_dir=models_dir), lambda graph, _: graph.forward)
    engine.runner.parts.transformer.forward = broken
    engine.submit(wanted[3])
    engine.step()
    with pytest.raises(ValueError, match="wrong"):
        engine.step()
    assert engine.compiled


@pytest.mark.parametrize("offload", [Offload.CONTROLNET, Offload.BOTH])
def test_streamed_blocks_are_never_compiled(models_dir: Path, offload: Offload) -> None:
    parts = load_engine("tiny", "cpu", cache_dir=models_dir).runner.parts
    plan = replace(plan_memory(TINY, 2**31), offload=offload)
    assert not compile_blocks(parts, Compiling.ON, plan, models_dir).are_there


def test_a_cpu_compiles_only_when_it_is_asked_to(models_dir: Path) -> None:
    assert not load_engine("tiny", "cpu", cache_dir=models_dir).compiled
    assert not load_engine("tiny", "cpu", cache_dir=models_dir, compile=Compiling.OFF).compiled
    assert load_engine("tiny", "cpu", cache_dir=models_dir, compile=Compiling.ON).compiled
