"""Weights of fewer bits, with the libraries that make them: what shrinks, what does not, and how far pictures move.

Skipped where the extra is not installed: pip install -c constraints.txt -e '.[quantised]'
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.inflight import InflightEngine
from models.loading import load_engine
from models.memory_plan import WEIGHT_BYTES, Modulation, WeightPrecision, plan_memory
from models.profiles import TINY
from models.requests import Finished

LIBRARY = {
    WeightPrecision.FP8: "torchao",
    WeightPrecision.INT8: "torchao",
    WeightPrecision.NF4: "bitsandbytes",
}
MOST_DIFFERENCE = {WeightPrecision.FP8: 0.02, WeightPrecision.INT8: 0.02, WeightPrecision.NF4: 0.08}
"""Mean difference of a pixel, 0..1, to the published weights' picture: with the built-in model, of the seeds below."""


@pytest.fixture(params=list(LIBRARY), ids=str)
def precision(request: pytest.FixtureRequest) -> WeightPrecision:
    pytest.importorskip(LIBRARY[request.param])
    return WeightPrecision(request.param)


def load(models_dir: Path, precision: WeightPrecision, **changes: Any) -> InflightEngine:
    planned = plan_memory(TINY, 2**31, precision=precision)
    changed = replace(planned, controlnet_precision=precision, **changes)
    return load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, plan=changed)


def shrunk(network: torch.nn.Module, precision: WeightPrecision) -> set[str]:
    kinds = {
        WeightPrecision.FP8: "Float8Tensor",
        WeightPrecision.INT8: "Int8Tensor",
        WeightPrecision.NF4: "Params4bit",
    }
    return {name for name, tensor in network.named_parameters() if type(tensor).__name__ == kinds[precision]}


def test_the_blocks_weights_shrink_and_nothing_else_does(models_dir: Path, precision: WeightPrecision) -> None:
    parts = load(models_dir, precision).runner.parts
    for network, size in (
        (parts.transformer, TINY.footprint.transformer),
        (parts.controlnet, TINY.footprint.controlnet),
    ):
        names = shrunk(network, precision)
        plain = {name: tensor for name, tensor in network.named_parameters() if name not in names}
        assert sum(tensor.numel() for tensor in plain.values()) == size.parameters - size.block_weights
        assert all(name.startswith(("transformer_blocks.", "single_transformer_blocks.")) for name in names)
        assert not any(".norm" in name and ".linear" in name for name in names)
    assert not any(shrunk(network, precision) for network in (parts.text_encoder_2, parts.text_encoder, parts.vae))


@pytest.mark.parametrize("modulation", list(Modulation))
def test_pictures_move_a_little_and_not_more(
    models_dir: Path, precision: WeightPrecision, modulation: Modulation, ask: Any, pose: Any, drain: Any
) -> None:
    plain = load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4)
    small = load(models_dir, precision, modulation=modulation)
    drawn: list[list[np.ndarray]] = []
    for engine in (plain, small):
        for seed in range(2):
            engine.submit(ask(f"{seed}", seed=seed, steps=4, control=pose((128, 128), 0.3)))
        outcomes = drain(engine)[0]
        assert {type(outcome) for outcome in outcomes.values()} == {Finished}
        drawn.append([outcomes[key].pixels for key in sorted(outcomes)])
    moved = float(np.abs(np.stack(drawn[0]) - np.stack(drawn[1])).mean())
    sys.stdout.write(f"\nmean difference, {precision}: {moved:.4f}\n")
    assert 0 < moved < MOST_DIFFERENCE[precision]


def test_a_second_try_leaves_the_small_weights_as_they_are(
    models_dir: Path, precision: WeightPrecision, ask: Any, drain: Any
) -> None:
    engine = load(models_dir, precision)
    for key, precise in (("first", False), ("again", True)):
        engine.submit(ask(key, precise=precise, steps=2))
    outcomes = drain(engine)[0]
    assert np.array_equal(outcomes["first"].pixels, outcomes["again"].pixels)


def test_a_closed_engine_gives_the_small_weights_back(models_dir: Path, precision: WeightPrecision) -> None:
    engine = load(models_dir, precision)
    engine.close()
    assert not list(engine.runner.parts.transformer.parameters())


def test_a_weight_takes_as_many_bytes_as_planned(precision: WeightPrecision) -> None:
    from models.quantising import quantise

    block = torch.nn.ModuleDict(
        {"transformer_blocks": torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(3072, 3072, bias=False)))}
    )
    linear = quantise(block, precision, torch.device("cpu")).get_submodule("transformer_blocks.0.0")
    weight: Any = linear.weight
    if precision is WeightPrecision.NF4:
        state = weight.quant_state
        tensors = [weight.data, state.absmax, state.state2.absmax]
    else:
        tensors = [weight.qdata, weight.scale]
    taken = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert taken == pytest.approx(WEIGHT_BYTES[precision] * 3072 * 3072, rel=0.01)
