"""Previews: what a picture is becoming, seen beside the steps, without a trace in the picture itself."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from models import previews_taef1, profiles
from models.arrival import Glimpses
from models.fake import FakeEngine
from models.inflight import InflightEngine
from models.loading import load_engine
from models.previews import PREVIEW_PX, expected, to_bytes
from models.previews_fit import fit_linear
from models.profiles import TINY, Repository
from models.requests import Finished, Preview
from models.stepping import DoesNotFit


@pytest.fixture(scope="module")
def showing(models_dir: Path) -> Iterator[InflightEngine]:
    """The built-in model on the CPU, able to make previews; one for all tests here."""
    engine = load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, previews=True)
    yield engine
    engine.close()


def watch(engine: Any, *requests: Any) -> tuple[dict[str, Any], list[Preview]]:
    """Draw them all with a preview of every step; return outcomes and previews."""
    for request in requests:
        engine.submit(request)
    outcomes: dict[str, Any] = {}
    seen: list[Preview] = []
    while engine.has_work():
        for key in engine.live_keys():
            engine.preview(key)
        report = engine.step()
        seen += report.previews
        outcomes |= {outcome.key: outcome for outcome in report.outcomes}
    return outcomes, seen


def scaled_down(pixels: np.ndarray) -> np.ndarray:
    """The means of a picture's 8x8 cells."""
    height, width, _ = pixels.shape
    return pixels.reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))


@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 0.93), (0.5, 0.41), (0.031, 0.0)])
def test_what_is_expected_follows_from_the_latents_before_and_after_a_step(sigma: float, sigma_next: float) -> None:
    generator = torch.Generator().manual_seed(1)
    before, velocity = (torch.randn(4, 64, generator=generator) for _ in range(2))
    after = before + (sigma_next - sigma) * velocity

    worked_out = expected(before, after, sigma, sigma_next)

    assert torch.allclose(worked_out, before - sigma * velocity, atol=2e-5)
    assert sigma_next > 0 or torch.equal(worked_out, after)


def test_the_last_preview_looks_like_the_picture_scaled_down(showing: InflightEngine, ask: Any, pose: Any) -> None:
    size = {"width": 256, "height": 256, "steps": 8, "control": pose((256, 256), 0.5)}
    prompts = ("a woman in a red room", "a green forest", "a man in a blue suit", "yellow light at night")
    wanted = [ask(str(at), prompt=prompt, seed=at, **size) for at, prompt in enumerate(prompts)]
    outcomes, seen = watch(showing, *wanted)
    last = {preview.key: preview.pixels / 255 for preview in seen if preview.step_index == 7}
    small = {key: scaled_down(outcome.pixels) for key, outcome in outcomes.items()}

    errors = {key: float(np.abs(last[key] - small[key]).mean()) for key in small}
    to_others = [np.abs(last[key] - small[other]).mean() for key in small for other in small if other != key]

    told = ", ".join(f"{error:.3f}" for error in errors.values())
    sys.stdout.write(f"\nmean error of the linear previews: {told}; to other pictures: {np.mean(to_others):.3f}\n")
    assert max(errors.values()) < 0.15
    assert np.mean(to_others) > 1.2 * np.mean(list(errors.values()))


def test_previews_come_nearer_to_the_picture_with_every_third_step(
    showing: InflightEngine, ask: Any, pose: Any
) -> None:
    outcomes, seen = watch(showing, ask("a", width=256, height=256, steps=10, control=pose((256, 256), 0.5)))
    last = next(preview.pixels for preview in seen if preview.step_index == 9).astype(float)
    away = [np.abs(preview.pixels - last).mean() for preview in seen]
    assert isinstance(outcomes["a"], Finished)
    assert [preview.step_index for preview in seen] == list(range(10))
    assert away[::3] == sorted(away[::3], reverse=True)


def test_the_same_weights_give_the_same_map(showing: InflightEngine) -> None:
    again, view = fit_linear(showing.runner), showing.view
    assert torch.equal(again.weights, view.weights)  # type: ignore[union-attr]
    assert torch.equal(again.bias, view.bias)  # type: ignore[union-attr]


def test_the_picture_is_bit_for_bit_the_one_without_previews(
    showing: InflightEngine, tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any
) -> None:
    wanted = [ask(str(at), seed=at, steps=5 + at, control=pose((128, 128), 0.2 * at)) for at in range(3)]
    watched, seen = watch(showing, *wanted)
    for request in wanted:
        tiny_engine.submit(request)
    alone, _ = drain(tiny_engine)
    assert len(seen) == 5 + 6 + 7
    assert all(np.array_equal(watched[key].pixels, alone[key].pixels) for key in alone)


def test_an_engine_without_a_view_makes_none(tiny_engine: InflightEngine, ask: Any) -> None:
    outcomes, seen = watch(tiny_engine, ask("a"))
    assert isinstance(outcomes["a"], Finished)
    assert seen == []


def test_lack_of_memory_costs_the_preview_and_not_the_picture(
    showing: InflightEngine, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def glimpse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(showing.runner, "glimpse", glimpse)
        outcomes, seen = watch(showing, ask("a", steps=2), ask("b", steps=3))
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}
    assert seen == []
    assert showing.free_rows() == 4
    assert watch(showing, ask("a", steps=2))[1] != []


def test_what_is_no_number_is_shown_black() -> None:
    colours = torch.tensor([float("nan"), float("inf"), -1.0, 0.5, 2.0, 1.0]).reshape(1, 3, 1, 2)
    assert to_bytes(colours).permute(0, 3, 1, 2).flatten().tolist() == [0, 255, 0, 128, 255, 255]


@dataclass
class Journey:
    """A copy that is there when the test says so; nobody may wait for it."""

    is_over: bool = False

    def done(self) -> bool:
        return self.is_over

    def wait(self) -> None:
        raise AssertionError("somebody waits for a preview")


class FarEngine(FakeEngine):
    """The fake, with previews that take a journey each, or do not fit."""

    def __init__(self) -> None:
        super().__init__(TINY, max_batch=4)
        self.journeys: list[Journey] = []
        self.is_full = False

    def glimpse(self, rows: Any) -> Glimpses:
        if self.is_full:
            raise DoesNotFit
        self.journeys.append(Journey())
        return replace(super().glimpse(rows), arrival=self.journeys[-1])


@pytest.fixture
def far() -> FarEngine:
    return FarEngine()


def begin(engine: FarEngine, *requests: Any) -> None:
    """Submit, encode, and run one forward with a preview of every picture."""
    for request in requests:
        engine.submit(request)
    engine.step()
    for request in requests:
        engine.preview(request.key)
    assert engine.step().rows


def test_a_preview_is_handed_out_when_it_has_arrived_and_nobody_waits(far: FarEngine, ask: Any) -> None:
    begin(far, ask("a", steps=9), ask("b", steps=5))
    assert [far.step().previews for _ in range(2)] == [(), ()]
    far.journeys[0].is_over = True
    arrived = far.step().previews
    assert [(preview.key, preview.step_index, preview.steps) for preview in arrived] == [("a", 0, 9), ("b", 0, 5)]
    assert far.step().previews == ()


def test_a_preview_that_arrives_after_its_picture_is_dropped(far: FarEngine, ask: Any, drain: Any) -> None:
    begin(far, ask("a", steps=1))
    outcomes, _ = drain(far)
    far.journeys[0].is_over = True
    far.submit(ask("a", steps=2))
    assert isinstance(outcomes["a"], Finished)
    assert far.step().previews == ()


def test_a_closed_engine_has_forgotten_its_previews(far: FarEngine, ask: Any) -> None:
    begin(far, ask("a", steps=5))
    far.journeys[0].is_over = True
    far.close()
    assert far.step().previews == ()


def test_a_preview_that_does_not_fit_is_left_out(far: FarEngine, ask: Any) -> None:
    far.is_full = True
    begin(far, ask("a", steps=5))
    far.is_full = False
    far.preview("a")
    far.step()
    assert len(far.journeys) == 1


# --- TAEF1: the real class with small random weights in the real layout ---


@pytest.fixture
def with_taef1(models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which the built-in model has a small AutoencoderTiny beside it; returns the latter's folder."""
    named = replace(TINY, preview=Repository(repo="nobody/taef1"))
    monkeypatch.setitem(profiles.PROFILES, "tiny", named)
    shutil.copytree(next(models_dir.glob("tiny-*")), tmp_path / next(models_dir.glob("tiny-*")).name)
    folder = tmp_path / "tiny" / previews_taef1.PREVIEW
    save_small_taef1(folder)
    return folder


def save_small_taef1(folder: Path, latent_channels: int = 16) -> None:
    torch.manual_seed(3)
    widths = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    AutoencoderTiny(latent_channels=latent_channels, **widths).save_pretrained(folder)


def test_taef1_is_used_where_its_weights_are_on_disk(with_taef1: Path, ask: Any) -> None:
    engine = load_engine("tiny", "cpu", cache_dir=with_taef1.parents[1], max_batch=2, previews=True)
    outcomes, seen = watch(engine, ask("a", width=256, height=192, steps=2), ask("b", width=256, height=192, steps=2))
    assert engine.view is not None
    assert (engine.view.name, engine.view.note) == ("taef1", None)
    assert {preview.pixels.shape for preview in seen} == {(PREVIEW_PX * 192 // 256, PREVIEW_PX, 3)}
    taef1 = AutoencoderTiny.from_pretrained(with_taef1)
    last = next(preview.pixels for preview in seen if preview.key == "a" and preview.step_index == 1)
    assert last.std() > 0
    assert taef1.config.latent_channels == engine.runner.channels
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}


@pytest.mark.parametrize("broken", ["no config", "torn weights", "other latents"])
def test_taef1_weights_that_cannot_be_used_are_told_of_and_cost_nothing(with_taef1: Path, broken: str) -> None:
    if broken == "no config":
        (with_taef1 / "config.json").unlink()
    elif broken == "torn weights":
        (with_taef1 / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    else:
        shutil.rmtree(with_taef1)
        save_small_taef1(with_taef1, latent_channels=4)

    engine = load_engine("tiny", "cpu", cache_dir=with_taef1.parents[1], max_batch=1, previews=True)

    assert engine.view is not None
    assert engine.view.name == "linear"
    assert str(with_taef1) in str(engine.view.note)
