"""The first forwards of an engine, before it is ready: that they work, how many rows fit, and how many are worth it.

A first forward is slow and takes memory of its own (kernels are loaded, workspaces made), so nobody's picture is in it.
"""

import time
from collections.abc import Callable
from typing import Protocol

import torch
from PIL import Image

from models.batch_choice import BUCKETS, batch_per_size, stand_ins
from models.batching import Batching
from models.errors import OutOfMemory
from models.profiles import Profile
from models.requests import PictureRequest
from models.sample import Sample
from models.stepping import DoesNotFit

TIMED_FORWARDS = 2

Size = tuple[int, int]


class Warmable(Protocol):
    """What is asked of an engine here."""

    profile: Profile
    batching: Batching

    def rehearse(self, samples: list[Sample], forwards: int) -> float:
        """Encode, run a first forward, then `forwards` timed ones, and decode one picture, without anybody seeing it.

        Returns the seconds of a timed forward, nan for none. Raises DoesNotFit.
        """


def find_rows(engine: Warmable) -> None:
    """Halve the rows of the default size until they fit. Raises OutOfMemory when one does not."""
    size = engine.profile.default_size
    rows = engine.batching.size_limit(size)
    while True:
        samples = samples_of(engine.profile, size, rows)
        try:
            engine.rehearse(samples, 0)
        except DoesNotFit as e:
            if rows == 1:
                raise OutOfMemory(*size) from e
            rows //= 2
            engine.batching.limit_rows(samples[0].lane, rows)
        else:
            return


def meet_batches(engine: Warmable) -> None:
    """Run every batch that compiled code is made for, up to what fits of the default size. Call after find_rows."""
    size = engine.profile.default_size
    for rows in BUCKETS:
        samples = samples_of(engine.profile, size, rows)
        if rows <= engine.batching.row_limit(samples[0].lane):
            try:
                engine.rehearse(samples, 0)
            except DoesNotFit:  # compiling takes memory, too; more rows are tried when there are pictures for them
                return


def choose_batches(engine: Warmable) -> dict[Size, dict[int, float]]:
    """Measure forwards of every size, and let as many rows of it share one as are worth it.

    Returns what was measured: seconds of a forward, by size and batch. Raises OutOfMemory when one picture of a size
    does not fit.
    """
    sizes = engine.profile.sizes
    measured = {size: _measure(engine, size) for size in dict.fromkeys(stand_ins(sizes).values())}
    for size, batch in batch_per_size(measured, sizes).items():
        engine.batching.limit_size(size, min(batch, engine.batching.size_limit(size)))
    return measured


def _measure(engine: Warmable, size: Size) -> dict[int, float]:
    forward_s: dict[int, float] = {}
    for rows in BUCKETS:
        if rows > engine.batching.size_limit(size):
            break
        try:
            forward_s[rows] = engine.rehearse(samples_of(engine.profile, size, rows), TIMED_FORWARDS)
        except DoesNotFit as e:
            if not forward_s:
                raise OutOfMemory(*size) from e
            break
    return forward_s


def samples_of(profile: Profile, size: Size, rows: int) -> list[Sample]:
    """Make pictures that nobody asked for."""
    width, height = size
    request = PictureRequest(
        key="warm-up",
        prompt="warm up",
        control=Image.new("RGB", size),
        width=width,
        height=height,
        seed=0,
        steps=1,
        guidance=profile.default_guidance,
        control_scale=profile.default_control_scale,
        control_end=1.0,
    )
    return [Sample(request=request) for _ in range(rows)]


def timed(device: torch.device, forward: Callable[[], None], forwards: int) -> float:
    """Return the seconds of one forward, over several; nan for none. It waits for the device."""
    if forwards == 0:
        return float("nan")
    _wait_for(device)
    started = time.perf_counter()
    for _ in range(forwards):
        forward()
    _wait_for(device)
    return (time.perf_counter() - started) / forwards


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
