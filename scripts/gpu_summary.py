"""From what `bench_gpu.py` noted while it ran to its cells and to the bars. Arithmetic only, without torch.

Notes are JSON lines, so a run that was cut short can be told as well as a whole one. A cell's seconds are those of a
picture of 28 steps with control in 18, made of the mean seconds of its steps; a visit gives one number, the cell is
the median of its visits and its spread the least and the most. Operations are those that were computed: diffusers'
pipeline runs the ControlNet also where it has no say, and extrapolated steps run nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from gpu_cells import CACHES, CONTROL_STEPS, STEPS, STOCK, Way
from gpu_notes import name_of, size_of
from gpu_work import Size, StepWork

from models.velocity_cache import full_steps

Notes = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way at one size and number of pictures. share: of the matrix products' rate, None where none was measured.

    memory_bytes: the way's own weights and the most it held beside them, None on a CPU.
    """

    way: Way
    size: Size
    pictures: int
    visits: int
    timed_steps: int
    picture_s: float
    least_s: float
    most_s: float
    flops: float
    share: float | None
    memory_bytes: int | None

    @property
    def steps_per_s(self) -> float:
        """Steps of single pictures in a second."""
        return STEPS / self.picture_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run: what was measured on (`run`), the cells, what was left out and why, and the other measurements.

    attention: which code works it out in our quickest lossless way."""

    run: Mapping[str, Any]
    cells: Sequence[Cell]
    matmul_flops: float | None
    left_out: Sequence[Mapping[str, Any]]
    joining: Mapping[str, Any] | None
    end_to_end: Mapping[str, Any] | None
    attention: Mapping[str, Any] | None

    def find(self, way: Way, size: Size, pictures: int) -> Cell | None:
        """Find a cell; None: it was not measured."""
        return next((one for one in self.cells if (one.way, one.size, one.pictures) == (way, size, pictures)), None)


def summarise(notes: Notes) -> Summary:
    """Make the cells of a run from its notes."""
    run = next(note for note in notes if note["event"] == "run")
    rates = [note["flops"] for note in notes if note["event"] == "matmul"]
    rate = median(rates) if rates else None
    visits: dict[tuple[Way, Size, int], list[Mapping[str, Any]]] = defaultdict(list)
    for note in _of(notes, "visit"):
        visits[Way(note["way"]), size_of(note["size"]), note["pictures"]].append(note)
    cells = [_cell(run, where, found, rate) for where, found in visits.items()]
    return Summary(
        run=run,
        cells=cells,
        matmul_flops=rate,
        left_out=_of(notes, "left_out"),
        joining=next(iter(_of(notes, "joining")), None),
        end_to_end=next(iter(_of(notes, "end_to_end")), None),
        attention=next(iter(_of(notes, "attention")), None),
    )


def picture_s(visit: Mapping[str, Any], way: Way) -> float:
    """Seconds of one picture by one visit."""
    with_control, without = visit["with_control_s"], visit["without_s"]
    if visit["whole"]:
        together = sum(with_control) + sum(without)
    elif way in STOCK:
        together = STEPS * fmean(with_control)
    else:
        together = CONTROL_STEPS * fmean(with_control) + (STEPS - CONTROL_STEPS) * fmean(without)
    return float(together / visit["pictures_drawn"])


def computed(work: StepWork, way: Way) -> float:
    """Operations that a way computes for one picture."""
    if way in STOCK:
        return work.of(steps=STEPS, control_steps=STEPS)
    if way not in CACHES:
        return work.of(steps=STEPS, control_steps=CONTROL_STEPS)
    full = full_steps(CACHES[way], STEPS, CONTROL_STEPS)
    return work.of(steps=sum(full), control_steps=sum(full[:CONTROL_STEPS]))


def _cell(
    run: Mapping[str, Any], where: tuple[Way, Size, int], visits: list[Mapping[str, Any]], rate: float | None
) -> Cell:
    way, size, pictures = where
    seconds = [picture_s(visit, way) for visit in visits]
    flops = computed(StepWork(**run["work"][name_of(size)]), way) / median(seconds)
    held = [visit["held_bytes"] for visit in visits if visit["held_bytes"] is not None]
    return Cell(
        way=way,
        size=size,
        pictures=pictures,
        visits=len(visits),
        timed_steps=sum(len(visit["with_control_s"]) + len(visit["without_s"]) for visit in visits),
        picture_s=median(seconds),
        least_s=min(seconds),
        most_s=max(seconds),
        flops=flops,
        share=flops / rate if rate else None,
        memory_bytes=max(held) + visits[0]["weight_bytes"] if held else None,
    )


def _of(notes: Iterable[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    return [note for note in notes if note["event"] == event]
