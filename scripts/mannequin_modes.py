"""Which ways of drawing keep the pose and the colours? Every lossy mode, scored with the built-in model.

    python scripts/mannequin_modes.py [WEIGHTS] [--cases 60] [--json]

WEIGHTS: an export; the package's own unless said. The same held-back cases and seeds are drawn in every mode, so
differences are the mode's. bf16, int8 and fp8 are what a card would compute: int8 and fp8 round the blocks' weights and
what is multiplied with them to 8 bits with a scale a row, as `models.quantising` has torchao do it, and multiply in
fp32. Prints a table in Markdown.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mannequin_cases import Case, score_cases
from mannequin_drawing import draw_cases, draw_late, scored
from mannequin_profile import open_mannequin
from mannequin_recipe import SIDE_PX
from torch import Tensor, nn

from models import mannequin
from models.inflight import InflightEngine
from models.mannequin.detector import read_network
from models.quantising import block_linears
from models.velocity_cache import CacheMode

COLUMNS = ("pck_control", "pck20_control", "shirt", "trousers", "background")
_FP8_MOST = 448.0
_INT8_MOST = 127.0

Rounding = Callable[[Tensor], Tensor]
Drawing = Callable[[list[Case]], Any]


def modes(weights: Path, steps: int) -> Iterator[tuple[str, Drawing]]:
    """Go through the modes: a name, and what draws all cases in it."""

    def drawing(*, steps: int = steps, together: int = 4, cache: CacheMode = CacheMode.OFF) -> Drawing:
        return lambda cases: draw_cases(
            open_mannequin(weights, cache=cache), cases, steps=steps, together=together
        )[0]  # fmt: skip

    yield f"{steps} steps, 4 pictures a forward", drawing()
    yield "one picture a forward", drawing(together=1)
    yield "4 a forward, each at another step", lambda cases: draw_late(open_mannequin(weights), cases, steps=steps)
    for other in (4, 6, 8, 20):
        yield f"{other} steps", drawing(steps=other)
    for mode in (CacheMode.SAFE, CacheMode.FAST):
        yield f"`--cache {mode}`, {steps} steps", drawing(cache=mode)
        yield f"`--cache {mode}`, 20 steps", drawing(steps=20, cache=mode)
    yield "bf16", lambda cases: draw_cases(in_bf16(open_mannequin(weights)), cases, steps=steps)[0]
    for name, rounding in (("int8", rounded_to_int8), ("fp8", rounded_to_fp8)):
        yield f"{name} (emulated)", _quantised(weights, rounding, steps)


def _quantised(weights: Path, rounding: Rounding, steps: int) -> Drawing:
    def drawing(cases: list[Case]) -> Any:
        engine = open_mannequin(weights)
        with multiplying(engine, rounding):
            return draw_cases(engine, cases, steps=steps)[0]

    return drawing


def in_bf16(engine: InflightEngine) -> InflightEngine:
    """Have an engine compute everything in bf16, as on a card."""
    parts = engine.runner.parts
    parts.dtype = torch.bfloat16
    for network in parts.networks():
        network.to(torch.bfloat16)
    return engine


@contextmanager
def multiplying(engine: InflightEngine, rounding: Rounding) -> Iterator[None]:
    """Round the blocks' weights for good, and what is multiplied with them inside the context."""

    def round_input(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (rounding(given[0]), *given[1:])

    hooks = []
    for network in (engine.runner.parts.transformer, engine.runner.parts.controlnet):
        for _, _, linear in block_linears(network):
            linear.weight.data = rounding(linear.weight.data)
            hooks.append(linear.register_forward_pre_hook(round_input))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rounded_to_int8(numbers: Tensor) -> Tensor:
    """Round to 8-bit integers with a scale a row (the last dimension)."""
    scale = numbers.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / _INT8_MOST
    return (numbers / scale).round() * scale


def rounded_to_fp8(numbers: Tensor) -> Tensor:
    """Round to 8-bit floats (e4m3) with a scale a row (the last dimension)."""
    scale = numbers.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / _FP8_MOST
    return (numbers / scale).to(torch.float8_e4m3fn).to(numbers.dtype) * scale


def table_of(told: dict[str, dict[str, float]]) -> str:
    """Write the scores as a Markdown table."""
    lines = ["| Mode | PCK@0.1 | PCK@0.2 | Shirt | Trousers | Background |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | " + " | ".join(f"{scores[column]:.3f}" for column in COLUMNS) + " |"
        for name, scores in told.items()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score every mode and tell."""
    asked = _parse(arguments)
    torch.set_num_threads(asked.threads)
    detector = read_network(asked.weights / mannequin.DETECTOR)
    cases = score_cases(asked.cases, SIDE_PX, library=asked.cases // 2)
    told = {}
    for name, draw in modes(asked.weights, asked.steps):
        told[name] = scored(detector, cases, draw(cases))
        print(f"{name}: {told[name]}", file=sys.stderr, flush=True)
    print(json.dumps({"cases": len(cases), "modes": told}, indent=2) if asked.json else table_of(told))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path, nargs="?", default=mannequin.WEIGHTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", type=int, default=60, help="half of them poses of the library")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
