"""What a memory plan says is what happens: networks come and go, cross the device in blocks, shrink; pictures stay.

On a CPU, where coming to the device is a copy beside the one at home. The lossless ways draw the resident engine's
very numbers.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.adapters import write_lora
from torch import nn

from models.errors import LibraryMissing
from models.inflight import InflightEngine
from models.loading import load_engine, plan_for
from models.loras import Lora
from models.memory_plan import GIB, Decoding, Modulation, Offload, Plan, TextPlace, WeightPrecision, plan_memory
from models.placement import Guest
from models.profiles import TINY
from models.requests import Finished

CPU = torch.device("cpu")

Load = Callable[..., InflightEngine]


def plan(**changes: Any) -> Plan:
    """Everything on the device, but for the changes."""
    return replace(plan_memory(TINY, GIB * 2), **changes)


@pytest.fixture
def load(models_dir: Path) -> Load:
    def make(loras_dir: Path | None = None, **changes: Any) -> InflightEngine:
        return load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, plan=plan(**changes), loras_dir=loras_dir)

    return make


@pytest.fixture
def draw(ask: Any, pose: Any, drain: Any) -> Callable[..., np.ndarray]:
    """Draws two orders of two pictures each, with and without control, and returns all pixels."""

    def make(engine: InflightEngine, **wishes: Any) -> np.ndarray:
        drawn = []
        for prompt in ("a woman in red", "a man in a green forest"):
            for key, control in (("led", pose((128, 128), 0.4)), ("free", None)):
                engine.submit(ask(key, prompt=prompt, control=control, steps=3, **wishes))
            outcomes = drain(engine)[0]
            assert {type(outcome) for outcome in outcomes.values()} == {Finished}
            drawn += [outcomes[key].pixels for key in ("led", "free")]
        return np.stack(drawn)

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {"text": TextPlace.MOVED},
        {"text": TextPlace.STREAMED},
        {"offload": Offload.CONTROLNET},
        {"offload": Offload.BOTH},
        {"decoding": Decoding.SLICED},
    ],
    ids=lambda changes: "-".join(changes.values()),
)
def test_where_networks_wait_changes_no_picture(load: Load, draw: Any, changes: dict[str, Any]) -> None:
    assert np.array_equal(draw(load(**changes)), draw(load()))


def test_the_smallest_cards_plan_draws_the_same_pictures(load: Load, draw: Any) -> None:
    smallest = load(text=TextPlace.STREAMED, modulation=Modulation.TABLES, offload=Offload.BOTH)
    tables = load(modulation=Modulation.TABLES)
    assert np.array_equal(draw(smallest), draw(tables))
    assert np.abs(draw(smallest) - draw(load())).max() < 1e-4


def test_a_plan_with_tables_takes_the_modulation_off_the_device(load: Load) -> None:
    engine = load(modulation=Modulation.TABLES)
    left = sum(tensor.numel() for tensor in engine.runner.parts.transformer.parameters())
    assert left <= TINY.footprint.transformer.parameters - TINY.footprint.transformer.modulation


def test_text_encoders_are_on_the_device_only_while_they_encode(load: Load, ask: Any, drain: Any) -> None:
    engine = load(text=TextPlace.MOVED)
    encoders = (engine.runner.parts.text_encoder, engine.runner.parts.text_encoder_2)
    at_home = [places(encoder) for encoder in encoders]
    seen: list[list[bool]] = []

    def look(*_: Any) -> None:
        seen.append([places(encoder).isdisjoint(home) for encoder, home in zip(encoders, at_home, strict=True)])

    for encoder in encoders:
        encoder.register_forward_pre_hook(look)
    engine.submit(ask("a"))
    drain(engine)
    assert seen == [[True, False], [False, True]]
    assert [places(encoder) for encoder in encoders] == at_home


def places(network: nn.Module) -> set[int]:
    return {tensor.data_ptr() for tensor in network.parameters()}


def test_a_guest_that_does_not_fit_is_at_home_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    guest = Guest(network, CPU)
    home = places(network)
    copies, to = [], torch.Tensor.to

    def crowded(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        copies.append(tensor)
        if len(copies) == 3:
            raise torch.OutOfMemoryError("full")
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", crowded)
    with pytest.raises(torch.OutOfMemoryError), guest.present():
        pass
    assert places(network) == home


@pytest.mark.parametrize(
    ("changes", "streaming"),
    [
        ({}, set()),
        ({"text": TextPlace.MOVED}, set()),
        ({"text": TextPlace.STREAMED}, {"text_encoder_2"}),
        ({"offload": Offload.CONTROLNET}, {"controlnet"}),
        ({"offload": Offload.BOTH}, {"controlnet", "transformer"}),
    ],
)
def test_the_blocks_of_a_network_that_streams_come_one_by_one(
    load: Load, changes: dict[str, Any], streaming: set[str]
) -> None:
    parts: Any = load(**changes).runner.parts
    blocks = {
        "text_encoder_2": parts.text_encoder_2.encoder.block,
        "controlnet": parts.controlnet.transformer_blocks,
        "transformer": [*parts.transformer.transformer_blocks, *parts.transformer.single_transformer_blocks],
    }
    for name, of_network in blocks.items():
        hooks = [getattr(block, "_diffusers_hook", None) for block in of_network]
        if name not in streaming:
            assert hooks == [None] * len(hooks)
            continue
        groups = [hook.get_hook("group_offloading").group for hook in hooks if hook is not None]
        assert [group.modules for group in groups] == [[block] for block in of_network]
        assert {group.offload_device for group in groups} == {CPU}


def test_loras_stream_with_the_blocks_they_change(load: Load, draw: Any, tmp_path: Path) -> None:
    write_lora(tmp_path, "style")
    streamed, resident = load(offload=Offload.BOTH, loras_dir=tmp_path), load(loras_dir=tmp_path)
    without = draw(resident)
    with_lora = draw(resident, loras=(Lora(name="style", strength=1.0),))
    assert np.array_equal(draw(streamed, loras=(Lora(name="style", strength=1.0),)), with_lora)
    assert np.array_equal(draw(streamed), without)
    assert not np.array_equal(without, with_lora)


def test_a_lora_is_known_to_the_block_that_brings_it(load: Load, ask: Any, drain: Any, tmp_path: Path) -> None:
    write_lora(tmp_path, "style")
    engine = load(offload=Offload.BOTH, loras_dir=tmp_path)
    block: Any = engine.runner.parts.transformer.transformer_blocks[0]  # type: ignore[index, union-attr]
    before = block._diffusers_hook.get_hook("group_offloading").group
    engine.submit(ask("a", loras=(Lora(name="style", strength=1.0),)))
    drain(engine)
    after = block._diffusers_hook.get_hook("group_offloading").group
    assert before is not after
    assert any("lora_" in name for name, _ in block.named_parameters())


@pytest.mark.parametrize(
    "changes",
    [{"precise_retry": False}, {"precise_retry": False, "offload": Offload.BOTH}],
    ids=["no-room", "streamed"],
)
def test_a_second_try_without_room_for_more_precision_is_drawn_in_what_there_is(
    load: Load, ask: Any, drain: Any, changes: dict[str, Any]
) -> None:
    engine = load(**changes)
    engine.submit(ask("plain"))
    plain = drain(engine)[0]["plain"]
    engine.submit(ask("again", precise=True))
    again = drain(engine)[0]["again"]
    assert isinstance(again, Finished)
    assert np.array_equal(again.pixels, plain.pixels)
    assert {tensor.dtype for tensor in engine.runner.parts.transformer.parameters()} == {torch.float32}


def test_a_second_try_with_room_is_drawn_in_higher_precision(load: Load, ask: Any, drain: Any) -> None:
    engine = load(precise_retry=True)
    seen: list[torch.dtype] = []
    engine.runner.parts.transformer.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["hidden_states"].dtype), with_kwargs=True
    )
    engine.submit(ask("again", precise=True, steps=1))
    drain(engine)
    assert seen == [torch.float64]


@pytest.mark.parametrize("text", list(TextPlace))
@pytest.mark.parametrize("offload", [Offload.NONE, Offload.BOTH])
def test_a_closed_engine_gives_all_memory_back(load: Load, text: TextPlace, offload: Offload) -> None:
    engine = load(text=text, offload=offload)
    engine.close()
    assert not any(list(network.parameters()) for network in engine.runner.parts.networks())
    assert not engine.runner.parts.guests


@pytest.mark.parametrize(
    ("precision", "library"),
    [
        (WeightPrecision.FP8, "torchao"),
        (WeightPrecision.INT8, "torchao"),
        (WeightPrecision.NF4, "bitsandbytes"),
    ],
)
def test_smaller_weights_without_their_library_say_what_to_install(
    load: Load, monkeypatch: pytest.MonkeyPatch, precision: WeightPrecision, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LibraryMissing, match=rf"--precision {precision} needs {library}.*pip install .* {library}"):
        load(precision=precision)


def test_a_cpu_needs_no_plan_for_the_published_weights(models_dir: Path) -> None:
    assert plan_for("tiny", "cpu", cache_dir=models_dir) is None
    assert plan_for("tiny", "cpu", cache_dir=models_dir, precision=WeightPrecision.BF16) is None


def test_a_plan_is_made_of_the_weights_that_lie_there(models_dir: Path) -> None:
    made = plan_for("tiny", "cpu", cache_dir=models_dir, precision=WeightPrecision.INT8)
    assert made is not None
    assert (made.profile, made.precision, made.text) == ("tiny", WeightPrecision.INT8, TextPlace.RESIDENT)
    assert made.lines[1].bytes < 2 * TINY.footprint.transformer.parameters
