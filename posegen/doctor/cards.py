"""Cards: the driver, CUDA as torch sees it, and what would go where on each card.

torch is never imported here. Where it is installed a short-lived child process imports it and prints what it sees.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import Any

import psutil  # type: ignore[import-untyped]

from models.checking import check_weights
from models.errors import CardTooSmall, ModelsError
from models.footprints import Footprint
from models.memory_plan import Plan, WeightPrecision, gib, plan_memory
from models.profiles import Profile
from models.weights import find_weights
from posegen.cards import Card, DriverAway, driver
from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import AUTO, Subject

TORCH_S = 90.0
"""How long the child may take: torch is read from the disk, and CUDA wakes."""
_PROBE = """
import json, torch
cards = []
for index in range(torch.cuda.device_count()):
    seen = torch.cuda.get_device_properties(index)
    cards.append({"name": seen.name, "memory_bytes": seen.total_memory, "capability": [seen.major, seen.minor]})
told = {"torch": torch.__version__, "cuda": torch.version.cuda, "cards": cards, "kinds": torch.cuda.get_arch_list()}
for index in range(len(cards)):
    try:
        torch.ones(8, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        cards[index]["fault"] = str(error).splitlines()[0]
print(json.dumps(told))
"""
_INSTALL = "pip install -c constraints.txt -e '.[gpu]'"
_LIBRARIES = {WeightPrecision.FP8: "torchao", WeightPrecision.INT8: "torchao", WeightPrecision.NF4: "bitsandbytes"}


def check_cards(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell what driver, cards and torch there are, and the plan for each card that a worker would have."""
    cards = subject.cards
    wants_card = subject.device.startswith("cuda")
    if subject.is_hosted or (not wants_card and subject.device != AUTO):
        why = "where an endpoint draws" if subject.is_hosted else f"for --device {subject.device}"
        yield told.ok(f"no card is needed {why}")
        return
    yield from _driver(told, wanted=wants_card, cards=cards)
    if wants_card and not cards:
        yield told.fail(
            f"there is no {subject.device} here",
            "See `nvidia-smi -L` and CUDA_VISIBLE_DEVICES; in a container, give it the card (compose.yaml does).",
        )
    elif not cards:
        yield told.warn(
            "no CUDA card is visible: workers draw with the built-in model, on the CPU",
            "For FLUX: a card of 12 GB or more, its driver, and no CUDA_VISIBLE_DEVICES that hides it.",
        )
    seen = yield from _torch(subject, told, cards)
    yield from _precision(subject, told)
    host, kept_bytes = psutil.virtual_memory(), 0
    for index, card in enumerate(cards):
        by_torch = seen[index]["memory_bytes"] if index < len(seen) else None
        memory_bytes = by_torch or card.memory_bytes
        kept_bytes += yield from tell_plan(subject, told, card, memory_bytes, host_bytes=host.available)
    if kept_bytes > host.total:
        yield told.fail(
            f"the workers of all cards would keep {gib(kept_bytes)} in host memory together, more than there is",
            "Add memory, ask for fewer bits with PRECISION, or start fewer workers.",
        )


def _driver(told: Told, *, wanted: bool, cards: list[Card]) -> Iterator[Finding]:
    remedy = (
        "Install NVIDIA's driver (Debian: nvidia-driver, from non-free), then see that `nvidia-smi` lists the cards."
    )
    try:
        found = driver()
    except DriverAway as away:
        tell = told.fail if wanted else told.warn
        yield tell(f"the NVIDIA driver cannot be asked: {away}", remedy if away.is_installed else _INSTALL)
        return
    yield told.ok(f"NVIDIA driver {found.version}, good for CUDA {found.cuda[0]}.{found.cuda[1]}")
    for card in cards:
        held = (card.used_bytes or 0) / (card.memory_bytes or 1)
        if held > 0.1:
            yield told.warn(
                f"{card.device} {card.name}: {gib(card.used_bytes or 0)} are in use already",
                "Fine when that is our own worker; else end what `nvidia-smi` lists: plans count on the whole card.",
            )


def _torch(subject: Subject, told: Told, cards: list[Card]) -> Generator[Finding, None, list[dict[str, Any]]]:
    """Tell what torch sees, and return its cards."""
    if importlib.util.find_spec("torch") is None:
        tell = told.warn if subject.device == AUTO and not cards else told.fail
        yield tell("torch is not installed: no worker can draw here", f"On a box that draws: {_INSTALL}")
        return []
    answer = _ask_torch(subject)
    if isinstance(answer, str):
        yield told.fail(f"torch cannot be used: {answer}", f"Install it anew: {_INSTALL}")
        return []
    seen: list[dict[str, Any]] = answer["cards"]
    says = f"torch {answer['torch']} for CUDA {answer['cuda']} sees {len(seen)} of {len(cards)} cards"
    if len(seen) < len(cards):
        yield told.fail(
            says,
            f"Bring the driver to one for CUDA {answer['cuda']} or newer, and see that the user may open /dev/nvidia*.",
        )
    elif not cards:
        yield told.ok(f"torch {answer['torch']} for CUDA {answer['cuda']}")
    else:
        yield told.ok(says)
    for index, card in enumerate(seen):
        kind = "sm_{}{}".format(*card["capability"])
        if not runs_on(kind, answer["kinds"]):
            yield told.fail(
                f"cuda:{index} {card['name']} is of a kind ({kind}) that this torch was not built for",
                "Use a newer card: " + ", ".join(answer["kinds"]),
            )
        if "fault" in card:
            yield told.warn(
                f"cuda:{index} {card['name']} did not add eight numbers: {card['fault']}",
                "Fine when a worker of ours holds all its memory; else see `nvidia-smi` and the kernel's log (dmesg).",
            )
    return seen


def _ask_torch(subject: Subject) -> dict[str, Any] | str:
    """Return what the child printed, or why it printed nothing."""
    try:
        child = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", _PROBE],
            env=dict(subject.environment),
            capture_output=True,
            text=True,
            timeout=TORCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it said nothing for {TORCH_S:g} s"
    try:
        answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return (child.stderr.strip().splitlines() or [f"it ended with {child.returncode}"])[-1]
    return answer


def runs_on(kind: str, built: list[str]) -> bool:
    """Whether code built for these kinds runs on a card of that one: binaries within a major number, PTX upwards."""
    number = int(kind.removeprefix("sm_"))
    for one in built:
        form, _, digits = one.partition("_")
        made_for = int("".join(filter(str.isdigit, digits)) or 0)
        if made_for <= number and (form == "compute" or made_for // 10 == number // 10):
            return True
    return False


def _precision(subject: Subject, told: Told) -> Iterator[Finding]:
    asked = subject.settings.precision
    library = _LIBRARIES.get(WeightPrecision(asked)) if asked else None
    if library is not None and importlib.util.find_spec(library) is None:
        yield told.fail(
            f"PRECISION={asked} needs {library}, which is not installed",
            "pip install -c constraints.txt -e '.[quantised]'",
        )


def tell_plan(
    subject: Subject, told: Told, card: Card, memory_bytes: int | None, *, host_bytes: int
) -> Generator[Finding, None, int]:
    """Tell what would go where on one card, and return how many bytes stay in host memory.

    host_bytes: the host's free memory.
    """
    drawn = subject.drawn_profile
    if memory_bytes is None:
        yield told.warn(f"{card.device} {card.name}: its memory is not known", "The worker's log says its plan.")
        return 0
    precision = WeightPrecision(subject.settings.precision) if subject.settings.precision else None
    try:
        plan = plan_memory(
            drawn,
            memory_bytes,
            precision=precision,
            footprint=_footprint(drawn, subject),
            host_bytes=host_bytes,
        )
    except CardTooSmall as too_small:
        yield told.fail(f"{card.device} {card.name}: {too_small}", "Use what would fit, or PROFILE=tiny.")
        return 0
    yield told.ok(f"{card.device} {card.name}, {gib(memory_bytes)}: {in_a_line(plan)}")
    return plan.host_bytes


def in_a_line(plan: Plan) -> str:
    """Write a plan as one line."""
    most = max(rows for _, rows in plan.rows)
    least = min(rows for _, rows in plan.rows)
    rows = f"{least}" if most == least else f"{least} to {most}, by size"
    parts = [
        f"{plan.profile} in {plan.precision.value}",
        f"text encoders {plan.text.value}",
        f"modulation {plan.modulation.value}",
        *([] if plan.offload.value == "none" else [f"blocks streamed: {plan.offload.value}"]),
        f"{gib(plan.used_bytes)} used",
        f"rows at most {rows}",
    ]
    return ", ".join(parts)


def _footprint(drawn: Profile, subject: Subject) -> Footprint | None:
    """Return what the weights here take; None for the profile's own, where there are none or they are not whole."""
    if drawn.base is None:
        return None
    try:
        return check_weights(drawn, find_weights(drawn, subject.settings.models_dir)).footprint()
    except (ModelsError, ImportError):
        return None  # the check of the weights says so
