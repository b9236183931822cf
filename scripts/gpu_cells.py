"""What `bench_gpu.py` measures and in which order: ways, groups of cells, and how many of them fit the time. No torch.

A group is one size and one number of pictures. All its ways take turns, several times, so that whatever changes on the
card meanwhile changes all of them; ratios are made inside a group only. Groups come in the order of what is asked
first; one that no longer fits the time is left out, and a cheaper one after it may still fit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gpu_work import Size

from models.velocity_cache import CacheMode, full_steps

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


_TITLES = {
    Way.STOCK_SINGLE: "diffusers, one by one",
    Way.STOCK_BATCHED: "diffusers, batched",
    Way.STOCK_COMPILED: "diffusers, batched",
    Way.OURS: "ours, bf16",
    Way.OURS_COMPILED: "ours, bf16",
    Way.OURS_TABLES: "ours, bf16, tables",
    Way.OURS_SAFE: "ours, bf16, cache safe",
    Way.OURS_FAST: "ours, bf16, cache fast",
    Way.OURS_FP8: "ours, fp8",
    Way.OURS_FP8_FAST: "ours, fp8, cache fast",
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


def title(way: Way, *, compiled: bool) -> str:
    """Name a way for people. compiled: whether the run compiled what a worker on a card compiles."""
    return _TITLES[way] + (", compiled" if compiled and way in COMPILED else "")


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
        return f"{self.size[0]}x{self.size[1]}, {self.pictures} {'pictures' if self.pictures > 1 else 'picture'}"


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
    first = [(full_size, 4), (middle, 4), (full_size, 8), (full_size, 1), (small, 8), (full_size, 5)]
    rest = [(size, pictures) for pictures in (8, 1, 4, 2, 5, 3) for size in sizes if (size, pictures) not in first]
    if plan == "full":
        return [group(size, pictures, ways) for size, pictures in (*first, *rest)]
    return [group(*first[0], ways), *(group(*where, most_asked(ways)) for where in first[1:])]


def group(size: Size, pictures: int, ways: Sequence[Way]) -> Group:
    """Make a group; one picture in a call is one by one, and is measured once."""
    return Group(
        size=size, pictures=pictures, ways=tuple(way for way in ways if (way, pictures) != (Way.STOCK_SINGLE, 1))
    )


def most_asked(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Return those of some ways that the bars ask for, ours in the form that a worker takes."""
    instead = () if Way.OURS_COMPILED in ways else (Way.OURS,)
    return tuple(way for way in ways if way in (*_MOST_ASKED, *instead)) or tuple(ways)


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
    """Estimate the seconds of a group: all visits, one more to warm each way, and compiling what is compiled anew.

    work: operations of one picture's step with control.
    """
    seconds = 0.0
    for way in group.ways:
        pictures = 1 if way is Way.STOCK_SINGLE else group.pictures
        steps = sum(timed_steps(way, group.repeats)) + WARM_STEPS
        if way in CACHES:
            steps = sum(full_steps(CACHES[way], STEPS, CONTROL_STEPS))
        seconds += (group.repeats * steps + 3) * pictures * work(group.size) / speed.flops
        seconds += speed.compile_s if compiled and way in COMPILED and way not in CACHES else 0.0
    return seconds


def affordable(
    wanted: Sequence[Group], left_s: Callable[[], float], cost: Callable[[Group], float]
) -> Iterator[tuple[Group, bool]]:
    """Go through the groups in order, each with whether it fits: with as many repeats (3, 2, 1) as fit, at last only
    the ways that the bars ask for.

    Time and cost are asked anew before each: both change with what was measured.
    """
    for whole in wanted:
        smaller = replace(whole, ways=most_asked(whole.ways))
        for tried in (
            replace(of, repeats=repeats) for of in (whole, smaller) for repeats in range(whole.repeats, 0, -1)
        ):
            if cost(tried) <= left_s():
                yield tried, True
                break
        else:
            yield whole, False


def in_turns(ways: Sequence[Way], repeats: int) -> Iterator[tuple[int, Way]]:
    """Give (repeat, way) so that every way has its turn in each repeat, and each repeat begins with another one."""
    for repeat in range(repeats):
        shift = repeat % len(ways)
        yield from ((repeat, way) for way in (*ways[shift:], *ways[:shift]))
