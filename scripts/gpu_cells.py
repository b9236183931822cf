"""What `bench_gpu.py` measures and in which order: ways, groups of cells, and how many of them fit the time. No torch.

A group is one size and one number of pictures. All its ways take turns, several times, so that whatever changes on the
card meanwhile changes all of them; ratios are made inside a group only. Groups come in the order of what is asked
first; one that no longer fits the time is left out, and a cheaper one after it may still fit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gpu_work import Size

from models.velocity_cache import CacheMode

STEPS, CONTROL_STEPS = 28, 18
CONTROL_END = CONTROL_STEPS / STEPS
WARM_STEPS = 1
"""Steps at the beginning of every visit that are not timed."""


class Way(StrEnum):
    """How pictures are drawn."""

    STOCK_SINGLE = "stock_single"  # diffusers' pipeline, one picture a call
    STOCK_BATCHED = "stock_batched"  # diffusers' pipeline, all pictures in one call
    STOCK_COMPILED = "stock_compiled"  # the same, its blocks compiled
    OURS = "ours"  # our engine, bf16
    OURS_COMPILED = "ours_compiled"  # the same, compiled as a worker does
    OURS_TABLES = "ours_tables"  # modulation precomputed
    OURS_SAFE = "ours_safe"  # some steps extrapolated
    OURS_FAST = "ours_fast"  # more of them
    OURS_FP8 = "ours_fp8"  # fp8 weights and activations, row-wise, compiled
    OURS_FP8_FAST = "ours_fp8_fast"  # both


TITLES = {
    Way.STOCK_SINGLE: "diffusers, one by one",
    Way.STOCK_BATCHED: "diffusers, batched",
    Way.STOCK_COMPILED: "diffusers, batched, compiled",
    Way.OURS: "ours, bf16",
    Way.OURS_COMPILED: "ours, bf16, compiled",
    Way.OURS_TABLES: "ours, bf16, compiled, tables",
    Way.OURS_SAFE: "ours, bf16, compiled, cache safe",
    Way.OURS_FAST: "ours, bf16, compiled, cache fast",
    Way.OURS_FP8: "ours, fp8, compiled",
    Way.OURS_FP8_FAST: "ours, fp8, compiled, cache fast",
}
STOCK = (Way.STOCK_SINGLE, Way.STOCK_BATCHED, Way.STOCK_COMPILED)
EAGER_STOCK = (Way.STOCK_SINGLE, Way.STOCK_BATCHED)
LOSSLESS = (Way.OURS, Way.OURS_COMPILED, Way.OURS_TABLES)
CACHES = {
    Way.OURS_SAFE: CacheMode.SAFE,
    Way.OURS_FAST: CacheMode.FAST,
    Way.OURS_FP8_FAST: CacheMode.FAST,
}
COMPILED = tuple(way for way in Way if way not in (*EAGER_STOCK, Way.OURS))
_MOST_ASKED = (
    Way.STOCK_BATCHED,
    Way.STOCK_COMPILED,
    Way.OURS_COMPILED,
    Way.OURS_FP8,
    Way.OURS_FP8_FAST,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells that take turns."""

    size: Size
    pictures: int
    ways: tuple[Way, ...]
    repeats: int = 3

    @property
    def name(self) -> str:
        """Size and pictures, for people."""
        return f"{self.size[0]}x{self.size[1]}, {self.pictures} pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What is known of the machine so far: operations per second, and seconds to compile for one new size of batch."""

    flops: float
    compile_s: float


def groups(plan: str, sizes: Sequence[Size], ways: Sequence[Way]) -> list[Group]:
    """Order the groups of a plan, `short` or `full`, by importance. sizes: largest first, the one of the bars.

    The short plan measures everything once at the first size, and elsewhere what the bars ask.
    """
    full_size, middle, small = sizes
    asked = tuple(way for way in ways if way in _MOST_ASKED)
    ordered = [
        Group(size=full_size, pictures=4, ways=tuple(ways)),
        Group(size=middle, pictures=4, ways=asked),
        Group(size=full_size, pictures=8, ways=asked),
        Group(size=full_size, pictures=1, ways=asked),
        Group(size=small, pictures=8, ways=asked),
        Group(size=full_size, pictures=5, ways=asked),
    ]
    if plan == "short":
        return ordered
    known = {(group.size, group.pictures): at for at, group in enumerate(ordered)}
    for pictures in (8, 1, 4, 2, 5, 3):
        for size in sizes:
            whole = Group(size=size, pictures=pictures, ways=tuple(ways))
            at = known.get((size, pictures))
            if at is None:
                ordered.append(whole)
            else:
                ordered[at] = whole
    return ordered


def timed_steps(way: Way, repeats: int) -> tuple[int, int]:
    """Return how many steps with and without control one visit times, so that a cell has ten at least.

    diffusers' pipeline runs the ControlNet in every step, so its steps are all alike. With a cache a whole schedule is
    drawn instead: which steps are skipped depends on where they are in it.
    """
    if way in CACHES:
        return CONTROL_STEPS, STEPS - CONTROL_STEPS
    with_control, without = (3, 2) if repeats > 1 else (6, 4)
    return (with_control + without, 0) if way in STOCK else (with_control, without)


def cost_s(group: Group, speed: Speed, work: Callable[[Size], float], *, compiled: bool) -> float:
    """Estimate the seconds of a group: all visits, one more to warm each way, and compiling.

    work: operations of one picture's step with control.
    """
    seconds = 0.0
    for way in group.ways:
        pictures = 1 if way is Way.STOCK_SINGLE else group.pictures
        steps = sum(timed_steps(way, group.repeats)) + WARM_STEPS
        seconds += (group.repeats * steps + 3) * pictures * work(group.size) / speed.flops
        seconds += speed.compile_s if compiled and way in COMPILED else 0.0
    return seconds


def affordable(
    wanted: Sequence[Group], left_s: Callable[[], float], cost: Callable[[Group], float]
) -> Iterator[tuple[Group, bool]]:
    """Go through the groups in order, each with whether it still fits, with as many repeats (3, 2, 1) as fit.

    Time and cost are asked anew before each: both change with what was measured.
    """
    for group in wanted:
        for repeats in range(group.repeats, 0, -1):
            fewer = replace(group, repeats=repeats)
            if cost(fewer) <= left_s():
                yield fewer, True
                break
        else:
            yield group, False


def in_turns(ways: Sequence[Way], repeats: int) -> Iterator[tuple[int, Way]]:
    """Give (repeat, way) so that every way has its turn in each repeat, and each repeat begins with another one."""
    for repeat in range(repeats):
        shift = repeat % len(ways)
        yield from ((repeat, way) for way in (*ways[shift:], *ways[:shift]))
