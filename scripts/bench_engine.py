"""Measures the drawing engine against diffusers' own pipeline: the same weights, steps and pictures, one process.

    python scripts/bench_engine.py [--json] [--profile tiny] [--pictures 16] [--batch 4] [--steps 14] [--repeats 5]
                                    [--previews] [--tables] [--cached]

Four ways are taken in turns, so that a busy machine slows all of them alike, and each turn begins with another one;
told are the medians, in pictures per second from words and pose map to pixels:

    singles          FluxControlNetPipeline called picture by picture
    stock_batched    FluxControlNetPipeline called with as many pictures as fit a batch
    ours             our engine, all pictures asked for at once
    ours_staggered   our engine, one more picture asked for every few steps, so that all are at different steps

Every picture has words, a pose map and a seed of its own and every turn a fresh engine, so nothing comes from a cache.
On a CPU the processor's own seconds are told beside the clock's (`..._per_cpu_s`): they leave out what other processes
on the machine took.
With `--previews` two more ways take turns, all told in steps of one row per second too: `ours_previewed`, with two
previews of each picture a second, more than the service makes, and `ours_previewed_each_step`, the worst case.
With `--tables` one more way, `ours_tables`: modulation computed once a picture (models.modulation). With `--cached` two
more, `ours_safe` and `ours_fast`: some steps extrapolated (models.velocity_cache).
`max_difference` is the largest one between a value (0..1) of any picture of ours and the pipeline's single call. Of the
two lossy ways `ours_..._difference` and `ours_..._psnr_db` tell instead the largest difference to the pictures of
`ours`, and the lowest peak signal-to-noise ratio of a picture, where the peak is 1.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.flux.pipeline_flux_controlnet import FluxControlNetPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.loading import load_engine, weight_folders
from models.previews import View
from models.profiles import Profile
from models.requests import Finished, PictureRequest
from models.runner import FluxRunner
from models.velocity_cache import CacheMode

Pictures = Sequence[NDArray[np.float32]]
InflightEngineMaker = Callable[[], InflightEngine]
Speed = dict[str, float]
"""Pictures per second of one turn: by the `clock`, and of the `cpu`."""
CONTROL_END = 0.65
WAYS = ("singles", "stock_batched", "ours", "ours_staggered")
PREVIEWED = {"ours_previewed": 0.5, "ours_previewed_each_step": 0.0}
"""Seconds between two previews of a picture."""
SAME_DB = 200.0
"""Told for pictures without any difference, whose ratio is infinite."""
CACHED = {"ours_safe": CacheMode.SAFE, "ours_fast": CacheMode.FAST}


def main() -> None:
    """Measure and print."""
    asked = _parse()
    started = time.perf_counter()
    engine = load_engine(
        asked.profile, asked.device, cache_dir=asked.models_dir, max_batch=asked.batch, previews=asked.previews
    )
    engine.warm_up()
    ready_s = time.perf_counter() - started
    wanted = requests(engine.profile, asked.pictures, asked.steps)
    pipeline = stock_pipeline(engine.runner, weight_folders(engine.profile, asked.models_dir).base / "vae")
    further: dict[str, InflightEngineMaker] = {}
    if asked.tables:
        tabled = load_engine(asked.profile, asked.device, cache_dir=asked.models_dir, modulation="tables").runner
        further["ours_tables"] = lambda: InflightEngine(tabled, asked.batch)
    if asked.cached:
        further |= {
            way: partial(InflightEngine, engine.runner, asked.batch, cache=cache) for way, cache in CACHED.items()
        }
    measured, differences = measure(
        engine.runner,
        pipeline,
        wanted,
        batch=asked.batch,
        repeats=asked.repeats,
        view=engine.view,
        further=further,
    )
    told: dict[str, Any] = {f"{way}_per_s": _median(turns, "clock") for way, turns in measured.items()}
    told |= differences
    told |= {f"{way}_spread": [min(speeds), max(speeds)] for way, speeds in _each(measured, "clock").items()}
    if engine.runner.device.type == "cpu":
        told |= {f"{way}_per_cpu_s": _median(turns, "cpu") for way, turns in measured.items()}
    width, height = engine.profile.default_size
    told |= {
        "profile": asked.profile,
        "width": width,
        "height": height,
        "steps": asked.steps,
        "control_end": CONTROL_END,
    }
    told |= {"pictures": asked.pictures, "batch": asked.batch, "repeats": asked.repeats, "ready_s": ready_s}
    told |= {f"{way}_steps_per_s": told[f"{way}_per_s"] * asked.steps for way in measured if asked.previews}
    told |= {"device": str(engine.runner.device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if asked.json:
        print(json.dumps(told, indent=2))
    else:
        _show(told)


def measure(
    runner: FluxRunner,
    pipeline: Any,
    wanted: Sequence[PictureRequest],
    *,
    batch: int,
    repeats: int,
    view: View | None = None,
    further: Mapping[str, InflightEngineMaker],
) -> tuple[dict[str, list[Speed]], dict[str, float]]:
    """Return the speeds of every way, one a repeat, and the differences; with a view also what previews cost.

    further: engines that take turns too.
    """
    apart = max(1, wanted[0].steps // batch)
    ways: dict[str, Callable[[], Pictures]] = {
        "singles": lambda: stock(pipeline, runner, wanted, 1),
        "stock_batched": lambda: stock(pipeline, runner, wanted, batch),
        "ours": lambda: ours(InflightEngine(runner, batch), wanted, apart=0),
        "ours_staggered": lambda: ours(InflightEngine(runner, batch), wanted, apart=apart),
    }

    def previewed(every_s: float) -> Pictures:
        return ours(InflightEngine(runner, batch, view), wanted, every_s=every_s)

    ways |= {way: partial(previewed, every_s) for way, every_s in PREVIEWED.items() if view is not None}
    ways |= {way: partial(_drawn_by, make, wanted) for way, make in further.items()}
    drawn = {way: draw() for way, draw in ways.items()}  # not timed: everything is warm after it
    exact = [way for way in drawn if way.startswith("ours") and way not in CACHED]
    told = {"max_difference": max(_largest(drawn[way], drawn["singles"]) for way in exact)}
    for way in CACHED.keys() & drawn.keys():
        told |= {f"{way}_difference": _largest(drawn[way], drawn["ours"])}
        told |= {f"{way}_psnr_db": min(map(_psnr_db, drawn[way], drawn["ours"]))}
    measured: dict[str, list[Speed]] = {way: [] for way in ways}
    for repeat in range(repeats):
        in_turn = list(ways)
        for way in in_turn[repeat % len(ways) :] + in_turn[: repeat % len(ways)]:
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            ways[way]()
            clock_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
            measured[way].append({"clock": len(wanted) / clock_s, "cpu": len(wanted) / cpu_s})
    return measured, told


def requests(known: Profile, count: int, steps: int) -> list[PictureRequest]:
    """Make `count` pictures of the default size, each with its own words, figure and seed."""
    width, height = known.default_size
    return [
        PictureRequest(
            key=str(index),
            prompt=f"a person in room {index}, a red coat, professional photography, soft lighting",
            control=_figure(width, height, bend=index / count),
            width=width,
            height=height,
            seed=1000 + index,
            steps=steps,
            guidance=known.default_guidance,
            control_scale=known.default_control_scale,
            control_end=CONTROL_END,
        )
        for index in range(count)
    ]


def ours(
    engine: InflightEngine, wanted: Sequence[PictureRequest], *, apart: int = 0, every_s: float | None = None
) -> Pictures:
    """Draw with our engine; `apart` forwards between two pictures, 0 for all at once; a preview of each `every_s`."""
    seen: dict[str, float] = {}
    drawn: dict[str, NDArray[np.float32]] = {}
    waiting = list(reversed(wanted))
    forwards = 0
    while waiting or engine.has_work():
        while waiting and (forwards >= (len(wanted) - len(waiting)) * apart or not engine.has_work()):
            engine.submit(waiting.pop())
        if every_s is not None:
            for key in engine.live_keys():
                if time.perf_counter() - seen.get(key, -math.inf) >= every_s:
                    engine.preview(key)
        report = engine.step()
        seen |= {preview.key: time.perf_counter() for preview in report.previews}
        forwards += bool(report.rows)
        for outcome in report.outcomes:
            assert isinstance(outcome, Finished), outcome
            drawn[outcome.key] = outcome.pixels
    return [drawn[request.key] for request in wanted]


def _drawn_by(make: InflightEngineMaker, wanted: Sequence[PictureRequest]) -> Pictures:
    return ours(make(), wanted)


def stock_pipeline(runner: FluxRunner, vae_folder: Path) -> Any:
    """Put diffusers' pipeline over the same networks, with the autoencoder as diffusers loads it."""
    parts = runner.parts
    vae = AutoencoderKL.from_pretrained(vae_folder, local_files_only=True, torch_dtype=runner.dtype)
    schedule = {name: getattr(parts.schedule, name) for name in parts.schedule.__dataclass_fields__}
    with quiet_libraries():
        pipeline = FluxControlNetPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(**schedule),
            vae=vae.eval().to(runner.device),
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            text_encoder_2=parts.text_encoder_2,
            tokenizer_2=parts.tokenizer_2,
            transformer=parts.transformer,
            controlnet=parts.controlnet,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock(pipeline: Any, runner: FluxRunner, wanted: Sequence[PictureRequest], batch: int) -> Pictures:
    """Draw with diffusers' pipeline, `batch` pictures a call, from the noise that ours starts from."""
    drawn: list[NDArray[np.float32]] = []
    for at in range(0, len(wanted), batch):
        together = wanted[at : at + batch]
        first = together[0]
        noise = [runner.starting_noise(request.seed, request.width, request.height) for request in together]
        drawn += list(
            pipeline(
                prompt=[request.prompt for request in together],
                control_image=[request.control for request in together],
                width=first.width,
                height=first.height,
                num_inference_steps=first.steps,
                guidance_scale=first.guidance,
                controlnet_conditioning_scale=first.control_scale,
                control_guidance_end=first.control_end,
                control_mode=runner.profile.control_mode,
                latents=torch.stack(noise).to(runner.dtype),
                generator=torch.Generator("cpu").manual_seed(0),
                max_sequence_length=runner.profile.text_tokens,
                output_type="np",
            ).images
        )
    return drawn


def _figure(width: int, height: int, *, bend: float) -> Image.Image:
    control = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(control)
    reach = 0.2 + 0.6 * bend
    for points, colour in (
        ([(0.5, 0.2), (0.5, 0.55)], (0, 0, 153)),
        ([(0.5, 0.3), (0.2, reach)], (153, 102, 0)),
        ([(0.5, 0.3), (0.8, 1 - reach)], (102, 153, 0)),
        ([(0.5, 0.55), (0.4, 0.92)], (0, 153, 51)),
        ([(0.5, 0.55), (0.6, 0.92)], (0, 102, 153)),
    ):
        draw.line([(x * width, y * height) for x, y in points], fill=colour, width=max(2, width // 64))
    return control


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4, help="rows of our engine, and pictures of a stock call")
    parser.add_argument("--steps", type=int, default=14, help="between the built-in model's 8 and FLUX's 28")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--previews", action="store_true", help="measure also what previews cost")
    parser.add_argument("--tables", action="store_true", help="measure also with modulation computed once a picture")
    parser.add_argument("--cached", action="store_true", help="measure also with some steps extrapolated")
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"))
    return parser.parse_args()


def _largest(pictures: Pictures, others: Pictures) -> float:
    return max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(pictures, others, strict=True))


def _psnr_db(picture: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    error = float(np.square(picture - other, dtype=np.float64).mean())
    return -10 * math.log10(error) if error else SAME_DB


def _each(measured: dict[str, list[Speed]], by: str) -> dict[str, list[float]]:
    return {way: [turn[by] for turn in turns] for way, turns in measured.items()}


def _median(turns: Sequence[Speed], by: str) -> float:
    return statistics.median(turn[by] for turn in turns)


def _show(told: dict[str, Any]) -> None:
    print(
        "{pictures} pictures of {profile}, {width}x{height}, {steps} steps, control to {control_end:.0%}, batches of "
        "{batch}, {repeats} times each on {device}; pictures per second:".format(**told)
    )
    for way in [*WAYS, *PREVIEWED, "ours_tables", *CACHED]:
        if f"{way}_per_s" not in told:
            continue
        line = f"  {way:25}"
        for unit in ("s", "cpu_s"):
            if f"{way}_per_{unit}" in told:
                speed = told[f"{way}_per_{unit}"]
                line += f"{speed:7.3f}/{unit} {speed / told[f'stock_batched_per_{unit}']:.2f}x batched"
        least, most = told[f"{way}_spread"]
        print(f"{line}  ({least:.3f} to {most:.3f}/s)")
    print(f"largest difference to the single calls: {told['max_difference']:.1e}")
    for way in CACHED:
        if f"{way}_psnr_db" in told:
            lossy, db = told[f"{way}_difference"], told[f"{way}_psnr_db"]
            print(f"{way} against ours: largest difference {lossy:.1e}, PSNR of the worst picture {db:.1f} dB")


if __name__ == "__main__":
    main()
