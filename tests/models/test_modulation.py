"""Modulation computed once a picture, by weights that left the networks, is the modulation of every step.

In fp32 and in bf16 on the CPU. The measured differences are printed (`pytest -s`).
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.normalization import AdaLayerNormZero
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from PIL import Image
from torch import Tensor, nn

from models.components import FluxComponents
from models.denoising import Conditions
from models.devices import resolve_device
from models.errors import WrongKind
from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.loading import load_components, load_engine, weight_folders
from models.modulation import Conditioning, UnknownModulation, take_out, timestep_of, vectors_at
from models.profiles import TINY
from models.requests import Finished, PictureRequest
from models.runner import FluxRunner

CPU = resolve_device("cpu")
SIZE = (128, 128)
TOKENS = 64


@pytest.fixture
def tabled_engine(models_dir: Path) -> Iterator[InflightEngine]:
    """The built-in model on the CPU with four rows and with its modulation taken out."""
    engine = load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, modulation="tables")
    yield engine
    engine.close()


@pytest.fixture
def requests(ask: Any, pose: Any) -> list[PictureRequest]:
    """Five that differ in everything modulation depends on."""
    return [
        ask("a", prompt="a woman on a red stage", steps=6, guidance=2.2, control=pose(SIZE, 0.8), control_end=0.6),
        ask("b", prompt="a blue room", steps=4, guidance=5.0, control=pose(SIZE, -0.5), control_end=1.0),
        ask("c", prompt="a blue room", steps=6, guidance=5.0, seed=99),
        ask("c2", prompt="a blue room", steps=4, guidance=1.5),
        ask("d", steps=5, control=pose(SIZE, 0.1), control_scale=1.4, control_end=0.3, seed=5),
    ]


def draw(engine: InflightEngine, requests: list[PictureRequest], drain: Any) -> dict[str, np.ndarray]:
    for request in requests:
        engine.submit(request)
    outcomes = drain(engine)[0]
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    return {key: outcome.pixels for key, outcome in outcomes.items()}


def largest(name: str, ours: Any, theirs: Any) -> float:
    difference = float(abs(ours - theirs).max())
    sys.stdout.write(f"\nlargest difference, {name}: {difference:.2e}\n")
    return difference


def test_pictures_by_tables_are_the_pictures_of_the_whole_networks(
    tiny_engine: InflightEngine, tabled_engine: InflightEngine, requests: Any, drain: Any
) -> None:
    live, tabled = draw(tiny_engine, requests, drain), draw(tabled_engine, requests, drain)
    for key, pixels in live.items():
        assert largest(f"tables, {key}", tabled[key], pixels) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_velocity_by_tables_is_that_of_the_whole_networks(models_dir: Path, pose: Any, dtype: torch.dtype) -> None:
    """Sums in another order round the other way; a deep network makes a few units of the last place of that."""
    pictures = [pose(SIZE, 0.4), pose(SIZE, -0.7)]
    live, tabled = (
        one_step(cast(components(models_dir, with_tables=tables), dtype), pictures) for tables in (False, True)
    )
    bound = 256 * torch.finfo(dtype).eps if dtype == torch.float32 else 2 * torch.finfo(dtype).eps
    assert largest(f"a step in {dtype}", tabled, live) <= bound * float(live.abs().max())


def test_vectors_of_a_table_are_what_the_layers_make_in_bf16(models_dir: Path) -> None:
    whole = cast(components(models_dir, with_tables=False), torch.bfloat16)
    taken = cast(components(models_dir, with_tables=True), torch.bfloat16)
    network: Any = whole.transformer
    assert taken.modulation is not None
    one = Conditioning(pooled=torch.randn(pooled_width(whole)).bfloat16(), guidance=3.3, sigmas=(1.0, 0.77, 0.31, 0.0))
    with torch.inference_mode():
        table = taken.modulation[0].tables([one], device=CPU, dtype=torch.bfloat16)[0]
        for step, sigma in enumerate(one.sigmas[:-1]):
            timestep = timestep_of(torch.tensor([sigma]), torch.bfloat16) * 1000
            guidance = torch.tensor([one.guidance]).bfloat16() * 1000
            signal = nn.functional.silu(network.time_text_embed(timestep, guidance, one.pooled[None]))
            live = torch.cat([layer(signal)[0] for layer in linears(network)])
            assert (table[step] - live).abs().max() <= 2**-7 * live.abs().max()


def linears(network: Any) -> list[nn.Module]:
    blocks = [norm for block in network.transformer_blocks for norm in (block.norm1, block.norm1_context)]
    single = [block.norm for block in network.single_transformer_blocks]
    return [norm.linear for norm in (*blocks, *single, network.norm_out)]


def pooled_width(parts: FluxComponents) -> int:
    width: int = parts.transformer.config.pooled_projection_dim  # type: ignore[union-attr]
    return width


def components(models_dir: Path, *, with_tables: bool) -> FluxComponents:
    return load_components(weight_folders(TINY, models_dir), CPU, TINY, with_tables=with_tables)


def cast(parts: FluxComponents, dtype: torch.dtype) -> FluxComponents:
    with quiet_libraries():
        for network in parts.networks():
            network.to(dtype)
    for source in parts.modulation or ():
        for module in (source._embed, *source._linears):
            module.to(dtype)
    parts.dtype = dtype
    return parts


def one_step(parts: FluxComponents, pictures: list[Image.Image]) -> Tensor:
    """Move three rows at different steps, those with pictures by their control; returns their velocities."""
    runner = FluxRunner(TINY, parts)
    latents = torch.stack([runner.starting_noise(seed, *SIZE) for seed in range(3)])
    sigmas = [parts.schedule.sigmas(steps, TOKENS) for steps in (4, 8, 28)]
    guidances, steps = (1.0, 3.5, 6.0), (0, 3, 20)
    with torch.inference_mode():
        words = runner.encode_words(["a red room", "a woman in a blue coat", "a forest at night"])
        conditions = Conditions(
            embeds=torch.stack([row.embeds for row in words]),
            pooled=torch.stack([row.pooled for row in words]),
            control=runner.encode_controls(pictures),
        )
        tables = runner.tables(
            [
                Conditioning(pooled=row.pooled, guidance=guidance, sigmas=schedule)
                for row, guidance, schedule in zip(words, guidances, sigmas, strict=True)
            ]
        )
        rows = [
            (schedule[step], schedule[step + 1], guidance, 0.9)
            for schedule, step, guidance in zip(sigmas, steps, guidances, strict=True)
        ]
        numbers = runner.row_numbers(rows, vectors_at(tables, steps))
        return runner.denoise(latents, conditions, numbers, SIZE)[1]


def test_one_pass_over_the_weights_serves_all_newcomers_and_a_known_picture_needs_none(
    tabled_engine: InflightEngine, requests: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    make = tabled_engine.runner.tables
    monkeypatch.setattr(tabled_engine.runner, "tables", lambda wanted: (passes.append(len(wanted)), make(wanted))[1])
    short = [replace(request, steps=1) for request in requests]
    draw(tabled_engine, short, drain)
    draw(tabled_engine, short, drain)
    assert passes == [3, 1]  # four fit at once, of which two differ in their seeds only


def test_the_networks_no_longer_hold_what_was_taken_out(
    tiny_engine: InflightEngine, tabled_engine: InflightEngine
) -> None:
    assert tabled_engine.runner.parts.modulation is not None
    for name, source in zip(("transformer", "controlnet"), tabled_engine.runner.parts.modulation, strict=True):
        whole, left = (getattr(engine.runner.parts, name) for engine in (tiny_engine, tabled_engine))
        embedding = sum(tensor.numel() for tensor in whole.time_text_embed.parameters())
        assert count(whole) - count(left) == source.parameters + embedding


def count(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


def test_flux_loses_as_much_as_is_written() -> None:
    with torch.device("meta"), quiet_libraries():
        flux = FluxTransformer2DModel(guidance_embeds=True)
        control = FluxControlNetModel(num_layers=6, num_single_layers=0, guidance_embeds=True)
    source, of_control = take_out(flux, CPU), take_out(control, CPU)
    assert (source.width, source.parameters) == (344 * 3072, 344 * (3072 + 1) * 3072)
    assert source.width * 28 * 2 == 59_179_008
    assert (of_control.width, of_control.parameters) == (72 * 3072, 72 * (3072 + 1) * 3072)


def test_a_precise_picture_has_precise_tables(tabled_engine: InflightEngine, ask: Any, drain: Any) -> None:
    """A picture gone bad is tried again: its tables are made anew from the same weights, in the higher precision."""

    def spoil(_: Any, __: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(part * float("nan") if part.dtype == torch.float32 else part for part in output)

    good = draw(tabled_engine, [ask("a")], drain)["a"]
    seen: list[torch.dtype] = []
    transformer = tabled_engine.runner.parts.transformer
    transformer.register_forward_hook(spoil)
    transformer.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["pooled_projections"].dtype), with_kwargs=True
    )
    again = draw(tabled_engine, [ask("a")], drain)["a"]
    assert largest("second try", again, good) < 1e-4
    assert seen == [torch.float32] * 3 + [torch.float64] * 3


def test_previews_of_a_tabled_engine_see_the_same_colours(models_dir: Path, ask: Any) -> None:
    seen = []
    for modulation in ("live", "tables"):
        engine = load_engine("tiny", "cpu", cache_dir=models_dir, previews=True, modulation=modulation)  # type: ignore[arg-type]
        assert engine.view is not None
        seen.append(engine.view.colours(torch.linspace(-2, 2, 16 * 64).view(1, 16, 8, 8)))
        engine.close()
    assert largest("colours", seen[1], seen[0]) < 1e-4


def test_one_compiled_block_serves_all_blocks_of_its_kind(tabled_engine: InflightEngine) -> None:
    """Guards that no block is compiled for its own place in the table."""
    blocks: Any = tabled_engine.runner.parts.transformer.transformer_blocks
    compiled: list[Any] = []

    def count_compiles(graph: Any, _inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    width = blocks[0].norm1.linear.width
    every = sum(
        len(place.slots) for place in tabled_engine.runner.parts.transformer.modules() if hasattr(place, "slots")
    )
    vectors, hidden = torch.randn(2, every * width), torch.randn(2, 5, width)
    with torch.no_grad():
        for block in blocks:
            block.norm1.compile(backend=count_compiles)
            block.norm1(hidden, emb=vectors)
    assert len(blocks) > 1
    assert len(compiled) == 1


@pytest.mark.parametrize("broken", ["norm", "linear", "embedding", "block", "network"])
def test_a_network_that_is_built_otherwise_is_refused_whole(models_dir: Path, broken: str) -> None:
    transformer: Any = components(models_dir, with_tables=False).transformer
    block = transformer.transformer_blocks[1]
    if broken == "norm":
        block.norm1 = type("OtherNorm", (AdaLayerNormZero,), {})(transformer.inner_dim)
    elif broken == "linear":
        block.norm1_context.linear = nn.Linear(transformer.inner_dim, 3 * transformer.inner_dim)
    elif broken == "embedding":
        transformer.time_text_embed = nn.Linear(1, 1)
    elif broken == "block":
        transformer.single_transformer_blocks[0] = nn.Identity()
    else:
        transformer = nn.Linear(1, 1)
    before = dict(transformer.named_parameters())
    with pytest.raises(UnknownModulation):
        take_out(transformer, CPU)
    assert transformer.state_dict().keys() >= before.keys()


def test_loading_such_a_network_says_what_is_wrong(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise UnknownModulation("one of its norms is OtherNorm")

    monkeypatch.setattr("models.loading.take_out", refuse)
    with pytest.raises(WrongKind, match="not what tiny draws with: one of its norms is OtherNorm"):
        load_engine("tiny", "cpu", cache_dir=models_dir, modulation="tables")
