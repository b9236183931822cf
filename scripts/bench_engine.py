"""Measures the drawing engine: seconds from nothing to ready, and per picture alone and in batches.

    python scripts/bench_engine.py [--profile tiny] [--device auto] [--batches 1 2 4] [--repeats 5]

Every picture has a pose map and its own seed; the profile's defaults otherwise. Batches are interleaved, so that a
busy machine slows all of them alike; the median and the spread are told.
"""

import argparse
import statistics
import time

_STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402 (imports are part of what is measured)

from PIL import Image, ImageDraw  # noqa: E402

from models.loading import load_engine  # noqa: E402
from models.profiles import Profile  # noqa: E402
from models.requests import Finished, PictureRequest  # noqa: E402


def requests(known: Profile, count: int, run: int) -> list[PictureRequest]:
    """Make `count` pictures of the profile's defaults; keys and seeds differ by run."""
    width, height = known.default_size
    control = Image.new("RGB", (width, height))
    ImageDraw.Draw(control).line([(width // 2, height // 5), (width // 2, height * 4 // 5)], (0, 153, 0), width // 64)
    return [
        PictureRequest(
            key=f"{run}-{index}",
            prompt=f"a person in a red room, picture {run} {index}",
            control=control,
            width=width,
            height=height,
            seed=run * 100 + index,
            steps=known.default_steps,
            guidance=known.default_guidance,
            control_scale=known.default_control_scale,
            control_end=known.default_control_end,
        )
        for index in range(count)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"))
    asked = parser.parse_args()

    imported_s = time.perf_counter() - _STARTED
    engine = load_engine(asked.profile, asked.device, cache_dir=asked.models_dir, max_batch=max(asked.batches))
    loaded_s = time.perf_counter() - _STARTED
    engine.warm_up()
    print(
        f"imports {imported_s:.1f} s, ready after {loaded_s:.1f} s, warm after {time.perf_counter() - _STARTED:.1f} s"
    )

    measured: dict[int, list[float]] = {count: [] for count in asked.batches}
    for run in range(asked.repeats):
        for count in asked.batches:
            for request in requests(engine.profile, count, run * 1000 + count):
                engine.submit(request)
            started = time.perf_counter()
            outcomes = []
            while engine.has_work():
                outcomes += engine.step().outcomes
            assert all(isinstance(outcome, Finished) for outcome in outcomes), outcomes
            measured[count].append((time.perf_counter() - started) / count)
    width, height = engine.profile.default_size
    print(f"{asked.profile} at {width}x{height}, {engine.profile.default_steps} steps, text to pixels, s per picture:")
    for count, seconds in measured.items():
        middle = statistics.median(seconds)
        print(f"  batch of {count}: median {middle:.2f}  (from {min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
