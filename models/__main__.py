"""`python -m models`: one picture from the command line, without any service; with `plan`, what fits which card.

The picture's path or the plan goes to stdout, progress and errors to stderr. Exit code 2: the request or the machine
is wrong, and the message says what to do.
"""

import argparse
import sys
import time
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from models import plan_table
from models.errors import ModelsError
from models.loras import Lora
from models.mannequin import built_in_profile
from models.profiles import PROFILES, Profile, profile
from models.requests import Failed, Finished, PictureRequest, check_request

USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments ask for; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return _plan(given[1:]) if given[:1] == ["plan"] else _one_picture(given)


def _plan(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m models plan", description="Say what goes where on a card.")
    plan_table.add_arguments(parser)
    try:
        print(plan_table.tell(parser.parse_args(arguments)))
    except ModelsError as e:
        print(f"error: {e}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _one_picture(arguments: list[str]) -> int:
    asked = _parser().parse_args(arguments)
    try:
        known = profile(asked.profile)
        request = _request(asked, known)
        check_request(request, known)  # before torch is imported, which takes seconds
        if not asked.out.parent.is_dir():
            raise ModelsError(f"There is no folder {asked.out.parent}: create it or choose another --out.")
        finished = _draw(request, asked)
        _save(finished, asked.out)
    except ModelsError as e:
        print(f"error: {e}", file=sys.stderr)
        return USAGE_ERROR
    print(asked.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description="Draw one picture (or: `plan`).")
    parser.add_argument("--prompt", required=True, help="what to draw, in words")
    parser.add_argument("--control", type=Path, help="an OpenPose map, RGB, of the picture's size; none: no pose")
    parser.add_argument("--out", type=Path, required=True, help="where to write the picture (.png)")
    built_in = built_in_profile().name
    parser.add_argument("--profile", default=built_in, help=f"one of {', '.join(PROFILES)} (default: {built_in})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--scale", type=float, help="how strongly the control picture is followed")
    parser.add_argument("--end", type=float, help="share of the steps (0..1) that follow the control picture")
    parser.add_argument("--lora", action="append", type=_lora, default=[], help="NAME=STRENGTH (0..2); may be repeated")
    parser.add_argument("--loras-dir", type=Path, help="where LoRAs lie (default: loras in the models' folder)")
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"), help="where weights are kept")
    return parser


def _lora(text: str) -> Lora:
    name, _, strength = text.partition("=")
    return Lora(name=name, strength=float(strength or 1))


def _request(asked: argparse.Namespace, known: Profile) -> PictureRequest:
    control = None if asked.control is None else _read_control(asked.control)
    width, height = known.default_size if control is None else control.size

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    return PictureRequest(
        key="picture",
        prompt=asked.prompt,
        control=control,
        width=int(given(asked.width, width)),
        height=int(given(asked.height, height)),
        seed=asked.seed,
        steps=int(given(asked.steps, known.default_steps)),
        guidance=given(asked.guidance, known.default_guidance),
        control_scale=given(asked.scale, known.default_control_scale),
        control_end=given(asked.end, known.default_control_end),
        loras=tuple(asked.lora),
    )


def _read_control(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as e:
        raise ModelsError(f"The control picture {path} cannot be read ({type(e).__name__}): give a PNG or JPEG.") from e


def _draw(request: PictureRequest, asked: argparse.Namespace) -> Finished:
    _say(f"loading {asked.profile} ...")
    started = time.perf_counter()
    from models.loading import load_engine

    engine = load_engine(
        asked.profile, asked.device, cache_dir=asked.models_dir, max_batch=1, loras_dir=asked.loras_dir
    )
    _say(f"loaded in {time.perf_counter() - started:.1f} s")
    engine.submit(request)
    while True:
        report = engine.step()
        for _, step_index, steps in report.rows:
            _say(f"step {step_index + 1} of {steps}  {report.compute_s:.2f} s")
        for outcome in report.outcomes:
            if isinstance(outcome, Finished):
                _say(f"drawn in {outcome.denoise_s:.1f} s" + ("" if outcome.pose_applied else ", without pose control"))
                return outcome
            if isinstance(outcome, Failed):
                raise outcome.error


def _save(finished: Finished, path: Path) -> None:
    pixels = (finished.pixels * 255).round().astype("uint8")
    try:
        Image.fromarray(pixels).save(path)
    except (OSError, ValueError) as e:
        raise ModelsError(f"The picture cannot be written to {path} ({e}): choose another --out, such as x.png.") from e


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
