"""`python -m gpu_worker --device cuda:0`: one worker per card."""

import argparse
import os
import sys

from pydantic import ValidationError

from gpu_worker.errors import CannotStart, CardBroke, WorkerError
from gpu_worker.process import Options, WorkerProcess
from models.memory_plan import WeightPrecision
from models.switches import AttentionKind, Compiling
from models.velocity_cache import CacheMode
from posegen.errors import PosegenError
from posegen.exit_codes import ExitCode
from posegen.logs import set_up_logging
from posegen.settings import Settings


def main() -> int:
    """Run one worker and return its exit code (posegen.exit_codes)."""
    parser = argparse.ArgumentParser(prog="python -m gpu_worker", description="Draw queued pictures on one device.")
    parser.add_argument(
        "--device", default="auto", help="cuda:0, hosted, cpu, or auto (default: a card, else what is set)"
    )
    parser.add_argument("--profile", help="model profile (default: PROFILE, else flux1-dev on a card that has it)")
    parser.add_argument(
        "--max-batch",
        type=_batch,
        help="most pictures in one forward pass; auto (default): on a card what is measured to be worth it, by size",
    )
    parser.add_argument(
        "--precision",
        choices=[precision.value for precision in WeightPrecision],
        help="weights; all but bf16 change pictures (default: PRECISION, else bf16)",
    )
    parser.add_argument(
        "--cache", choices=[mode.value for mode in CacheMode], help="steps to extrapolate (default: CACHE, else off)"
    )
    parser.add_argument(
        "--compile",
        choices=[choice.value for choice in Compiling],
        help="compile the networks' blocks (default: COMPILE, else auto: on a card)",
    )
    parser.add_argument(
        "--attention",
        choices=[kind.value for kind in AttentionKind],
        help="code for the attention (default: ATTENTION, else auto: the fastest that is there)",
    )
    parser.add_argument("--burst", action="store_true", help="draw what is queued, then exit")
    given = parser.parse_args()
    options = Options(
        device=given.device,
        profile=given.profile,
        max_batch=given.max_batch,
        precision=given.precision,
        cache=given.cache,
        compile=given.compile,
        attention=given.attention,
        burst=given.burst,
    )
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():  # not the error itself: it may show a secret
            print(f"{'.'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}", file=sys.stderr)
        print("Set it in the environment or in .env (./scripts/start writes one).", file=sys.stderr)
        return CannotStart.exit_code
    set_up_logging(settings.log_format, process="gpu_worker")
    try:
        WorkerProcess(options, settings).run()
    except CardBroke as error:
        print(f"The worker ends: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)  # what Python would free at its end lies on the card: it would hang or abort
    except WorkerError as error:
        print(f"The worker ends: {error}", file=sys.stderr)
        return error.exit_code
    except PosegenError as error:
        print(f"The worker ends: {error}", file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.DONE


def _batch(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
