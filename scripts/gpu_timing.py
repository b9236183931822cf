"""One visit to a cell of `bench_gpu.py`: a few steps of some pictures, each step timed where it happens.

On a card an event is recorded after every step and read when the visit is over: nothing waits in between, so host and
card overlap as they do at work. On the CPU it is the clock. Encoding before and decoding after are not timed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.pipelines.flux.pipeline_flux_controlnet import FluxControlNetPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from gpu_cells import CONTROL_END, STEPS, WARM_STEPS
from gpu_work import Size
from PIL import Image

from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.requests import Failed, PictureRequest
from models.runner import FluxRunner
from models.velocity_cache import CacheMode


class CellFailed(Exception):
    """A cell cannot be measured here; the text says why."""


class Ticks:
    """Moments on a device, and the seconds between them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moments: list[Any] = []

    def mark(self) -> None:
        """Note this moment of the device's own work; does not wait for it."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._moments.append(event)
        else:
            self._moments.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Wait for the device and return what lay between each two marks."""
        wait_for(self._device)
        pairs = zip(self._moments, self._moments[1:], strict=False)
        if self._device.type == "cuda":
            return [begin.elapsed_time(end) / 1000 for begin, end in pairs]
        return [end - begin for begin, end in pairs]


@dataclass(slots=True, kw_only=True)
class Visit:
    """What one visit found. Seconds of each timed step, with control and without, of all its pictures together.

    whole: all steps of a schedule were timed, some of them extrapolated; else the two are samples of it.
    held_bytes: the most that was held on the card beside what lay there before, None on a CPU.
    """

    pictures: int
    with_control_s: list[float] = field(default_factory=list)
    without_s: list[float] = field(default_factory=list)
    whole: bool = False
    held_bytes: int | None = None


def wait_for(device: torch.device) -> None:
    """Wait until the device has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(device: torch.device, visit: Callable[[], Visit]) -> Visit:
    """Carry out a visit and note the memory it held. Raises CellFailed for a card that is too small or refuses."""
    before = 0
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    try:
        found = visit()
    except torch.OutOfMemoryError as e:
        reason = str(e).splitlines()[0]
        e.__traceback__ = None  # it holds every tensor of the forward
    else:
        if device.type == "cuda":
            found.held_bytes = torch.cuda.max_memory_allocated(device) - before
        return found
    torch.cuda.empty_cache()
    raise CellFailed(f"out of memory: {reason}")


def wanted_pictures(
    runner: FluxRunner, size: Size, pictures: int, *, control_end: float = CONTROL_END
) -> list[PictureRequest]:
    """Make pictures, each with its own words, seed and control picture of random pixels."""
    width, height = size
    profile = runner.profile
    return [
        PictureRequest(
            key=str(index),
            prompt=f"a person in room {index}, a red coat, professional photography, soft lighting",
            control=_noise(size, index),
            width=width,
            height=height,
            seed=1000 + index,
            steps=STEPS,
            guidance=profile.default_guidance,
            control_scale=profile.default_control_scale,
            control_end=control_end,
        )
        for index in range(pictures)
    ]


def visit_ours(engine: InflightEngine, size: Size, pictures: int, timed: tuple[int, int]) -> Visit:
    """Draw steps with our engine, through its own `step`: timed ones with control, then without, then it gives up.

    With a cache the whole schedule is drawn and timed, the extrapolated steps with the full ones that follow them.
    Raises CellFailed when not all pictures share a forward.
    """
    whole = engine.cache is not CacheMode.OFF
    warm = 0 if whole else WARM_STEPS
    with_control, without = timed
    control_end = CONTROL_END if whole else (warm + with_control) / STEPS
    wanted = wanted_pictures(engine.runner, size, pictures, control_end=control_end)
    for request in wanted:
        engine.submit(request)
    ticks = Ticks(engine.runner.device)
    if whole:
        engine.step()  # encodes them all; the next step is their first forward
        ticks.mark()
    at: list[int] = []
    last = STEPS if whole else warm + with_control + without
    while not at or at[-1] + 1 < last:
        report = engine.step()
        failed = [outcome for outcome in report.outcomes if isinstance(outcome, Failed)]
        if failed or (report.stage == "step" and len(report.rows) != pictures):
            _give_up(engine, wanted)
            raise CellFailed(str(failed[0].error) if failed else "not all pictures fit one forward")
        if report.rows:
            at.append(report.rows[0][1])
            if whole or at[-1] + 1 >= warm:
                ticks.mark()
    seconds = ticks.seconds()
    _give_up(engine, wanted)
    steps_of = dict(zip(at if whole else at[warm:], seconds, strict=True))
    ends = sum((step + 1) / STEPS <= control_end for step in range(STEPS))
    return Visit(
        pictures=pictures,
        with_control_s=[took for step, took in steps_of.items() if step < ends],
        without_s=[took for step, took in steps_of.items() if step >= ends],
        whole=whole,
    )


def _give_up(engine: InflightEngine, wanted: Sequence[PictureRequest]) -> None:
    for request in wanted:
        engine.cancel(request.key)
    while engine.has_work():
        engine.step()


class Stock:
    """diffusers' FluxControlNetPipeline over given networks, as its documentation calls it."""

    def __init__(self, runner: FluxRunner, transformer: Any, controlnet: Any) -> None:
        self._runner = runner
        parts = runner.parts
        schedule = {name: getattr(parts.schedule, name) for name in parts.schedule.__dataclass_fields__}
        with quiet_libraries():
            self._pipeline: Any = FluxControlNetPipeline(
                scheduler=FlowMatchEulerDiscreteScheduler(**schedule),
                vae=parts.vae,
                text_encoder=None,
                tokenizer=None,
                text_encoder_2=None,
                tokenizer_2=None,
                transformer=transformer,
                controlnet=controlnet,
            )
        self._pipeline.set_progress_bar_config(disable=True)

    def visit(self, size: Size, pictures: int, timed_steps: int) -> Visit:
        """Draw a schedule of as many steps as are timed, all pictures in one call; nothing is decoded.

        A step takes what it takes, whatever schedule it is of. Raises what torch raises for lack of memory.
        """
        runner = self._runner
        wanted = wanted_pictures(runner, size, pictures)
        first = wanted[0]
        ticks = Ticks(runner.device)

        def after(_pipeline: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
            if index + 1 >= WARM_STEPS:
                ticks.mark()
            return {}

        with torch.inference_mode():
            words = runner.encode_words([request.prompt for request in wanted])
            noise = [runner.starting_noise(request.seed, *size) for request in wanted]
            self._pipeline(
                prompt_embeds=torch.stack([one.embeds for one in words]),
                pooled_prompt_embeds=torch.stack([one.pooled for one in words]),
                control_image=[request.control for request in wanted],
                width=first.width,
                height=first.height,
                num_inference_steps=timed_steps + WARM_STEPS,
                guidance_scale=first.guidance,
                controlnet_conditioning_scale=first.control_scale,
                control_guidance_end=CONTROL_END,
                control_mode=runner.profile.control_mode,
                latents=torch.stack(noise).to(runner.dtype),
                generator=torch.Generator("cpu").manual_seed(0),
                max_sequence_length=runner.profile.text_tokens,
                output_type="latent",
                callback_on_step_end=after,
            )
        return Visit(pictures=pictures, with_control_s=ticks.seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """How long a newcomer whose prompt and pose are known waited.

    forwards: of others, that it waited for; on a card one of them was running when it came.
    wait_steps: from being asked for to its first forward's end, less that forward, in steps of the full batch.
    """

    forwards: int
    wait_steps: float


def visit_joining(engine: InflightEngine, size: Size, rows: int) -> Joining:
    """Let a newcomer join `rows` - 1 pictures that are being drawn. Raises CellFailed for a batch of one."""
    if rows < 2:
        raise CellFailed("nobody joins a batch of one")
    wanted = wanted_pictures(engine.runner, size, rows, control_end=1.0)
    newcomer = wanted[-1]
    for request in wanted:  # the newcomer's words and pose are encoded once, so that they are known
        engine.submit(request)
    _steps(engine, 2)
    _give_up(engine, wanted)
    for request in wanted[:-1]:
        engine.submit(request)
    _steps(engine, 3)
    device = engine.runner.device
    asked_s = time.perf_counter()
    engine.submit(newcomer)
    forwards = 0 if device.type == "cuda" else -1  # its own is counted too
    joined = False
    while not joined:
        report = engine.step()
        forwards += bool(report.rows)
        joined = any(key == newcomer.key for key, _, _ in report.rows)
    wait_for(device)
    joined_s = time.perf_counter() - asked_s
    begun_s = time.perf_counter()
    _steps(engine, 3)
    wait_for(device)
    step_s = (time.perf_counter() - begun_s) / 3
    _give_up(engine, wanted)
    return Joining(forwards=forwards, wait_steps=max(0.0, joined_s / step_s - 1))


def _steps(engine: InflightEngine, forwards: int) -> None:
    done = 0
    while done < forwards:
        if not engine.has_work():
            raise CellFailed("there was nothing to draw")
        done += bool(engine.step().rows)


def matmul_flops(device: torch.device, *, side: int, times: int = 10) -> float:
    """Measure operations per second of square products of random matrices, in the dtype that pictures are drawn in."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    wait_for(device)
    begun_s = time.perf_counter()
    for _ in range(times):
        left @ right
    wait_for(device)
    return float(2 * side**3 * times / (time.perf_counter() - begun_s))


def _noise(size: Size, seed: int) -> Image.Image:
    chance = torch.Generator("cpu").manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=chance, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())
