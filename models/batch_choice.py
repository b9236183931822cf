"""How many pictures of a size share a forward: the smallest batch that is nearly as fast as the fastest measured one.

A larger batch makes everybody in it wait longer for every step, and past some size a card gains next to nothing by it.
So memory only bounds the choice. Torch-free: the measuring is `models.warming`'s, the rule is here.
"""

from collections.abc import Mapping, Sequence

Size = tuple[int, int]

BUCKETS = (1, 2, 4, 8)
"""The batches that are measured. Any number of rows below the chosen one may be drawn, too; compiled code is made for
these numbers only (see `warm_parts`)."""
WITHIN = 0.03
"""The share of the best throughput that may be given up for a smaller batch."""
ALIKE = 0.05
"""Sizes whose pixels differ by less than this share are measured once."""


def best_batch(forward_s: Mapping[int, float]) -> int:
    """Return the smallest batch within WITHIN of the best throughput.

    forward_s: measured seconds of one forward, by batch. Raises ValueError for none, or for one that took no time.
    """
    if not forward_s or min(forward_s.values()) <= 0:
        raise ValueError(f"no throughput is known of {dict(forward_s)}")
    throughput = {batch: batch / seconds for batch, seconds in forward_s.items()}
    enough = (1 - WITHIN) * max(throughput.values())
    return min(batch for batch, rate in throughput.items() if rate >= enough)


def warm_parts(rows: int) -> tuple[int, ...]:
    """Return the batches, each one of BUCKETS, that `rows` rows are computed as: 5 as 4 + 1, and nothing is padded."""
    parts = []
    for bucket in reversed(BUCKETS):
        parts += [bucket] * (rows // bucket)
        rows %= bucket
    return tuple(parts)


def batch_per_size(measured: Mapping[Size, Mapping[int, float]], sizes: Sequence[Size]) -> dict[Size, int]:
    """Return the batch of every size, of which those in `stand_ins` were measured."""
    return {size: best_batch(measured[stand_in]) for size, stand_in in stand_ins(sizes).items()}


def stand_ins(sizes: Sequence[Size]) -> dict[Size, Size]:
    """Return for every size the one that is measured for it: the largest of those that are ALIKE."""
    by_pixels = sorted(sizes, key=_pixels, reverse=True)
    found: dict[Size, Size] = {}
    measured = by_pixels[0]
    for size in by_pixels:
        if _pixels(size) < (1 - ALIKE) * _pixels(measured):
            measured = size
        found[size] = measured
    return found


def _pixels(size: Size) -> int:
    return size[0] * size[1]
