"""The pictures that `quality_check.py` judges: the same requests, drawn by engines that differ in one thing only."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from quality_measures import Picture

from models.inflight import InflightEngine
from models.loading import load_engine, plan_for
from models.memory_plan import WeightPrecision
from models.profiles import Profile
from models.requests import Failed, Finished, PictureRequest
from models.velocity_cache import CacheMode
from posegen.poses import AuthoredPose, draw_pose, read_library

WORDS = (
    "a woman in a red coat in a sunlit street, professional photography, soft lighting",
    "a man in a dark suit in a library, warm light, 50 mm",
    "a dancer in a green dress on an empty stage, dramatic lighting",
    "a person in sportswear on a beach at dusk, natural light",
)
Drawn = dict[str, Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is drawn: a request and the pose that it follows."""

    request: PictureRequest
    pose: AuthoredPose


def wanted(profile: Profile, count: int, size: tuple[int, int], steps: int) -> list[Asked]:
    """Make requests of one person each, every one with a pose, words and a seed of its own."""
    width, height = size
    poses = [pose for pose in read_library().poses if len(pose.pose.people) == 1]
    every = max(1, len(poses) // count)
    asked = []
    for number in range(count):
        pose = poses[number * every % len(poses)]
        request = PictureRequest(
            key=f"{number:02}",
            prompt=f"{WORDS[number % len(WORDS)]}, {pose.description}",
            control=draw_pose(pose.pose, width, height),
            width=width,
            height=height,
            seed=4000 + number,
            steps=steps,
            guidance=profile.default_guidance,
            control_scale=profile.default_control_scale,
            control_end=profile.default_control_end,
        )
        asked.append(Asked(request=request, pose=pose))
    return asked


@contextmanager
def loaded(
    profile: str, device: str, models_dir: Path, precision: WeightPrecision, max_batch: int
) -> Iterator[InflightEngine]:
    """Load the profile in a precision; its memory is given back at the end. Raises what loading raises."""
    plan = plan_for(profile, device, cache_dir=models_dir, precision=precision)
    engine = load_engine(profile, device, cache_dir=models_dir, plan=plan, max_batch=max_batch)
    try:
        yield engine
    finally:
        engine.close()
        del engine
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def draw(engine: InflightEngine, asked: Sequence[Asked], *, rows: int, cache: CacheMode = CacheMode.OFF) -> Drawn:
    """Draw all with the engine's networks, so many in a forward; who failed is missing."""
    fresh = InflightEngine(engine.runner, rows, cache=cache)
    for one in asked:
        fresh.submit(one.request)
    drawn: Drawn = {}
    while fresh.has_work():
        for outcome in fresh.step().outcomes:
            assert isinstance(outcome, Finished | Failed), outcome
            if isinstance(outcome, Finished):
                drawn[outcome.key] = outcome.pixels
    return drawn
