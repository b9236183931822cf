"""`python -m models plan`: what goes where on a card of a size, as a table, as JSON, or as docs/memory-plan.md."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from models.errors import CardTooSmall, ModelsError
from models.memory_plan import (
    RESERVED_BYTES,
    SLACK,
    SMALLEST_SHARE,
    Decoding,
    Offload,
    Plan,
    WeightPrecision,
    gib,
    nominal_bytes,
    plan_memory,
)
from models.profiles import FLUX1_DEV, FLUX1_DEV_UNIONPRO, PROFILES, Profile, profile

CARDS_GB = (12, 16, 24, 32, 48, 80, 141)
_SHOWN_SIZES = ((1024, 1024), (512, 512))
_HEADS = ("card", "weights", "text encoders", "modulation", "streamed", "rows", "on the card", "on the host")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command may be asked."""
    cards = parser.add_mutually_exclusive_group()
    cards.add_argument("--memory-gb", type=float, help="a card sold with so many GB")
    cards.add_argument("--all", action="store_true", help=f"cards of {_listed(CARDS_GB)} GB (default)")
    parser.add_argument("--profile", help=f"one of {', '.join(PROFILES)} (default: both of FLUX)")
    parser.add_argument("--precision", choices=[*WeightPrecision], help="what large weights are kept in")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every number, for programs")
    form.add_argument("--markdown", action="store_true", help="docs/memory-plan.md, which is always of all cards")


def tell(asked: argparse.Namespace) -> str:
    """Answer what was asked. Raises UnknownProfile, and CardTooSmall for a single card that is too small."""
    if asked.markdown:
        return document().removesuffix("\n")
    profiles = (profile(asked.profile),) if asked.profile else (FLUX1_DEV, FLUX1_DEV_UNIONPRO)
    precision = WeightPrecision(asked.precision) if asked.precision else None
    if asked.memory_gb is None:
        planned = [(known, gb, _tried(known, gb, precision)) for known in profiles for gb in CARDS_GB]
    elif asked.memory_gb > 0:
        card = nominal_bytes(asked.memory_gb)
        planned = [(known, asked.memory_gb, plan_memory(known, card, precision=precision)) for known in profiles]
    else:
        raise ModelsError("A card has more than 0 GB: give --memory-gb a positive number.")
    if asked.json:
        return json.dumps([_as_json(known, gb, found) for known, gb, found in planned], indent=2)
    return "\n\n".join(
        f"{known.name}, {gb:g} GB card\n{described(found) if isinstance(found, Plan) else f'  {found}'}"
        for known, gb, found in planned
    )


def described(plan: Plan) -> str:
    """Write a plan as people read it before loading: what goes where, the sum, and why."""
    lines = [
        f"  weights        {_weights(plan)}",
        f"  text encoders  {plan.text.value}",
        f"  modulation     {plan.modulation.value}",
        f"  streamed       {plan.offload.value}",
        f"  autoencoder    {plan.decoding.value}",
        f"  rows at most   {_rows(plan)}",
        *(f"  {gib(line.bytes):>9}  {line.what}" for line in plan.lines),
        f"  {gib(plan.used_bytes):>9}  of {gib(plan.card_bytes)}; {gib(plan.host_bytes)} in host memory",
    ]
    return "\n".join([*lines, *(f"  - {reason}" for reason in plan.reasons)])


def document() -> str:
    """Write docs/memory-plan.md."""
    return _INTRODUCTION + "".join(_section(known) for known in (FLUX1_DEV, FLUX1_DEV_UNIONPRO))


_INTRODUCTION = f"""\
# What goes where on a card

Written by `python -m models plan --markdown`; a test holds this file to it. It is arithmetic (`models/memory_plan.py`,
no torch, no card), and the worker decides by it before it loads anything; `python -m models plan --memory-gb 24` shows
every line of one sum. Nothing here was measured on a card.

Only what was asked for with `--precision` changes pictures. By itself a worker keeps the published bf16 weights and
looks, in this order, for room: everything on the card; text encoders off it (moved whole for encoding, or streamed
block by block); modulation as precomputed tables; the blocks of the ControlNet, at last of both networks, streamed from
host memory at every step. The last is slow: all weights cross the bus in each step, and larger batches share that cost.

- A card "of N GB" is the smallest sold under that name: it shows {SMALLEST_SHARE} N GiB (an L4 has error correction
  on). A worker plans with what its own card shows.
- Allowances: {gib(RESERVED_BYTES)} for CUDA and its libraries, {round(100 * (SLACK - 1))} % on the tensors of a forward
  pass.
- Rows are how many pictures may share a forward at 1024x1024 and at 512x512: memory's upper bound, no advice.
- fp8, int8 and nf4 are the weight matrices of the blocks; embeddings, norms, modulation and the autoencoder stay bf16.
- "sliced": the autoencoder takes one picture at a time.
- The libraries for fp8, int8 and nf4 are an extra: `.venv/bin/pip install -c constraints.txt -e '.[quantised]'`.
  Without them, as with a plan that does not fit, the worker ends with exit code 78 and says what to do.
- A picture that comes out bad is drawn once more with its seed: in fp32 where all weights are bf16, on the card, and
  fit it twice as wide; else as it was, but alone.
- `--max-batch auto`, the default on a card, measures forwards of 1, 2, 4 and 8 rows while warming up and takes, for
  each size, the smallest batch within 3 % of the best throughput.
"""


def _section(known: Profile) -> str:
    text = f"\n## {known.name}: {known.title}\n\n{_row(_HEADS)}{_row(['---'] * len(_HEADS))}"
    for gb in CARDS_GB:
        for precision in (None, WeightPrecision.FP8, WeightPrecision.NF4):
            text += _row(_cells(gb, precision, _tried(known, gb, precision)))
    return text


def _cells(gb: float, precision: WeightPrecision | None, found: Plan | CardTooSmall) -> list[str]:
    card = f"{gb:g} GB" if precision is None else f"{gb:g} GB, asked for {precision.value}"
    if isinstance(found, CardTooSmall):
        return [card, f"does not fit; what would: {found.would_fit}", *[""] * (len(_HEADS) - 2)]
    return [
        card,
        _weights(found),
        found.text.value,
        found.modulation.value,
        "" if found.offload is Offload.NONE else found.offload.value,
        _rows(found) + ("" if found.decoding is Decoding.GROUPED else f", {found.decoding.value}"),
        gib(found.used_bytes),
        gib(found.host_bytes),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _tried(known: Profile, gb: float, precision: WeightPrecision | None) -> Plan | CardTooSmall:
    try:
        return plan_memory(known, nominal_bytes(gb), precision=precision)
    except CardTooSmall as too_small:
        return too_small


def _as_json(known: Profile, gb: float, found: Plan | CardTooSmall) -> dict[str, object]:
    if isinstance(found, CardTooSmall):
        return {"profile": known.name, "memory_gb": gb, "fits": False, "error": str(found)}
    return {
        "memory_gb": gb,
        "fits": True,
        "is_lossless": found.is_lossless,
        "used_bytes": found.used_bytes,
        **asdict(found),
        "rows": {f"{width}x{height}": rows for (width, height), rows in found.rows},
    }


def _weights(plan: Plan) -> str:
    if plan.precision is plan.controlnet_precision:
        return plan.precision.value
    return f"{plan.precision.value}, ControlNet {plan.controlnet_precision.value}"


def _rows(plan: Plan) -> str:
    known = dict(plan.rows)
    shown = [size for size in _SHOWN_SIZES if size in known] or list(known)
    return " / ".join(f"{known[size]}" for size in shown)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
