"""What the tests of drawing share: requests to send, poses to follow, and the built-in model, loaded once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw
from support.hosting import HANDLER, load_handler

from models.engine import Engine
from models.profiles import TINY, profile
from models.requests import Outcome, PictureRequest, StepReport

if TYPE_CHECKING:
    from models.inflight import InflightEngine

SIZE = (128, 128)  # the smallest: most promises do not depend on it

Ask = Callable[..., PictureRequest]
Drain = Callable[[Engine], tuple[dict[str, Outcome], list[StepReport]]]


def _pose(size: tuple[int, int], bend: float) -> Image.Image:
    """A stick figure in the colours of a pose map; `bend` (-1..1) moves its arms and legs."""
    width, height = size
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)

    def line(points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        draw.line([(x * width, y * height) for x, y in points], fill=colour, width=max(2, width // 64))

    line([(0.5, 0.2), (0.5, 0.35)], (0, 0, 153))
    line([(0.4, 0.35), (0.6, 0.35)], (153, 0, 0))
    line([(0.4, 0.35), (0.28, 0.5 - 0.25 * bend), (0.2, 0.6 - 0.45 * bend)], (153, 102, 0))
    line([(0.6, 0.35), (0.72, 0.5 - 0.25 * bend), (0.8, 0.6 - 0.45 * bend)], (102, 153, 0))
    line([(0.5, 0.35), (0.45, 0.6), (0.4 - 0.1 * bend, 0.92)], (0, 153, 51))
    line([(0.5, 0.35), (0.55, 0.6), (0.6 + 0.1 * bend, 0.92)], (0, 102, 153))
    return picture


@pytest.fixture
def pose() -> Callable[[tuple[int, int], float], Image.Image]:
    """Draws a stick figure of a size: pose(size, bend)."""
    return _pose


@pytest.fixture
def ask() -> Ask:
    """Makes a small, fast, valid request: ask("key", steps=4, ...)."""

    def make(key: str, **changes: object) -> PictureRequest:
        width, height = SIZE
        plain = PictureRequest(
            key=key,
            prompt="a person in a green room",
            control=None,
            width=width,
            height=height,
            seed=7,
            steps=3,
            guidance=TINY.default_guidance,
            control_scale=TINY.default_control_scale,
            control_end=TINY.default_control_end,
        )
        return replace(plain, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def drain() -> Drain:
    """Steps an engine until nothing is left: (outcomes by key, all reports). Each key may have one outcome."""

    def run(engine: Engine) -> tuple[dict[str, Outcome], list[StepReport]]:
        outcomes: dict[str, Outcome] = {}
        reports = []
        for _ in range(1000):
            if not engine.has_work():
                return outcomes, reports
            reports.append(engine.step())
            for outcome in reports[-1].outcomes:
                assert outcome.key not in outcomes
                outcomes[outcome.key] = outcome
        raise AssertionError(f"1000 steps and still {engine.live_keys()}")

    return run


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of weights, shared by the run; the built-in model is built in it once."""
    import torch

    torch.set_num_threads(1)  # at these sizes a second thread only gets in the way of other tests
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_handler(models_dir: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The endpoint's own handler, drawing the built-in model: made once, as an endpoint makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROFILE", "tiny")
        patch.setenv("MODELS_DIR", str(models_dir))
        made: Callable[[dict[str, Any]], dict[str, Any]] = load_handler(HANDLER, models_dir)
    return made


@pytest.fixture
def tiny_engine(models_dir: Path) -> Iterator["InflightEngine"]:
    """The built-in model on the CPU with four rows, nothing in flight."""
    from models.loading import load_engine

    engine = load_engine(profile("tiny").name, "cpu", cache_dir=models_dir, max_batch=4)
    yield engine
    engine.close()
