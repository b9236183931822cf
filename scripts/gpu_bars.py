"""The bars that the product is held to on a card, and what a run says of each: met, missed, or not measured.

Seconds are bars of one card, an H200; a run on another one leaves them unmeasured. Ratios, the end-to-end rate and the
newcomer's wait are asked of every card. Each is read where our lossless way is quickest among 4 to 8 pictures; one way
of ours is compared with the quickest of diffusers' in the same group.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from operator import ge, le

from gpu_cells import EAGER_STOCK, LOSSLESS, Way
from gpu_notes import name_of
from gpu_summary import Cell, Summary
from gpu_work import Size

from models.profiles import FLUX1_DEV

CARD = "H200"
LARGE, MIDDLE = (1024, 1024), (768, 1024)
MIDDLE_SHARE = 0.743
"""A picture of 768x1024 has so many of the operations of one of 1024x1024."""
SECONDS = {
    "bf16, lossless": (LOSSLESS, 3.9),
    "fp8": ((Way.OURS_FP8,), 2.8),
    "fp8 + cache": ((Way.OURS_FP8_FAST,), 1.75),
}
TIMES_EAGER, TIMES_COMPILED = 1.5, 1.1
END_TO_END_SHARE = 0.95
JOIN_STEPS = 1
FEW, MANY = 4, 8


class Outcome(StrEnum):
    """What a run says of a bar."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar. found: the number that was measured, None if none was; where says of which cell, or why not."""

    title: str
    wanted: str
    found: float | None
    outcome: Outcome
    where: str


def judge(summary: Summary) -> list[Bar]:
    """Hold a run to all bars."""
    return [*_seconds(summary), *_ratios(summary), _end_to_end(summary), _joining(summary)]


def _seconds(summary: Summary) -> Iterator[Bar]:
    why_not = _why_no_seconds(summary)
    for size in (LARGE, MIDDLE):
        for title, (ways, at_large_s) in SECONDS.items():
            most_s = at_large_s * (1.0 if size == LARGE else MIDDLE_SHARE)
            best = None if why_not else _quickest(summary, size, ways)
            yield _bar(
                f"{title}, {name_of(size)}",
                f"<= {most_s:.2f} s a picture",
                best.picture_s if best else None,
                partial(ge, most_s),
                _named(best) if best else why_not or "no such cell",
            )


def _why_no_seconds(summary: Summary) -> str:
    run = summary.run
    if run["profile"] != FLUX1_DEV.name:
        return f"it was {run['profile']} that was drawn"
    return "" if CARD in run["device_name"] else f"it is a bar of the {CARD}; this was: {run['device_name']}"


def _ratios(summary: Summary) -> Iterator[Bar]:
    ours = _quickest(summary, summary_size(summary), LOSSLESS) if _has_card(summary) else None
    for title, ways, times in (
        ("lossless against diffusers eager", EAGER_STOCK, TIMES_EAGER),
        ("lossless against diffusers compiled", (Way.STOCK_COMPILED,), TIMES_COMPILED),
    ):
        theirs = [summary.find(way, ours.size, ours.pictures) for way in ways] if ours else []
        known = [cell.picture_s for cell in theirs if cell]
        ratio = min(known) / ours.picture_s if ours and known else None
        where = _named(ours) if ours and known else _why_not(summary)
        yield _bar(title, f">= {times} times", ratio, partial(le, times), where)


def _end_to_end(summary: Summary) -> Bar:
    found = summary.end_to_end if _has_card(summary) else None
    return _bar(
        "end to end against denoise only",
        f">= {END_TO_END_SHARE}",
        found["share"] if found else None,
        partial(le, END_TO_END_SHARE),
        f"{found['pictures']} pictures of {found['size']}" if found else _why_not(summary),
    )


def _joining(summary: Summary) -> Bar:
    found = summary.joining if _has_card(summary) else None
    return _bar(
        "a newcomer joins",
        f"within {JOIN_STEPS} step",
        float(found["forwards"]) if found else None,
        partial(ge, JOIN_STEPS),
        f"{found['wait_steps']:.2f} steps of the clock" if found else _why_not(summary),
    )


def summary_size(summary: Summary) -> Size:
    """Return the largest size of a run, which ratios are made at."""
    sizes = {cell.size for cell in summary.cells} or {LARGE}
    return max(sizes, key=lambda size: size[0] * size[1])


def _quickest(summary: Summary, size: Size, ways: tuple[Way, ...]) -> Cell | None:
    cells = [cell for cell in summary.cells if cell.size == size and cell.way in ways and FEW <= cell.pictures <= MANY]
    return min(cells, key=lambda cell: cell.picture_s, default=None)


def _bar(title: str, wanted: str, found: float | None, holds: Callable[[float], bool], where: str) -> Bar:
    outcome = Outcome.NOT_MEASURED
    if found is not None:
        outcome = Outcome.MET if holds(found) else Outcome.MISSED
    return Bar(title=title, wanted=wanted, found=found, outcome=outcome, where=where)


def _named(cell: Cell) -> str:
    return f"{cell.way.value}, {cell.pictures} pictures of {name_of(cell.size)}"


def _has_card(summary: Summary) -> bool:
    return str(summary.run["device"]).startswith("cuda")


def _why_not(summary: Summary) -> str:
    return "no such cell" if _has_card(summary) else "this was no card"
