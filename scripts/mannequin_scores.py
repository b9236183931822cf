"""The arithmetic of the mannequin's scores: which colour a part has, and whether there is one body or pieces.

Colours are named by the nearest of the captions' own colours, shaded as the renderer shades; that this ruler works is
itself a score, taken of true renders.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mannequin_cases import SCORED, Case
from mannequin_looks import CLOTHES
from mannequin_render import GROUND
from numpy.typing import NDArray

_SHADES = (0.74, 0.84, 0.94)
"""How bright cloth is on average where a body turns its front, its side or its back to the light."""
_LEAST_PIXELS = 12
_UNLIKE_GROUND = 26.0  # mean difference of a pixel's channels from the ground's colour in its row
_BODY_AREA = (0.02, 0.75)  # of the picture
_ONE_BODY = 0.85  # of all that is not ground


def named_colour(pixel: NDArray[np.float32], *, shaded: bool) -> str:
    """Return the caption's colour that a pixel looks like; shaded: as cloth on a body."""
    shades = _SHADES if shaded else (1.0, 0.9)
    return min(
        CLOTHES,
        key=lambda name: min(float(np.abs(pixel - np.asarray(CLOTHES[name]) * shade).sum()) for shade in shades),
    )


def colour_hits(cases: Sequence[Case], pictures: Any) -> dict[str, float]:
    """Return per part the share of pictures that have the asked colour where the true render has that part."""
    hits: dict[str, list[bool]] = {part: [] for part in SCORED}
    for case, picture in zip(cases, pictures, strict=True):
        wanted = {"shirt": case.look.top_name, "trousers": case.look.bottom_name, "background": case.look.ground_name}
        for part, number in SCORED.items():
            where = inner(case.parts == number)
            if where.sum() >= _LEAST_PIXELS:
                pixel = np.median(picture[where].astype(np.float32), axis=0)
                hits[part].append(named_colour(pixel, shaded=number != GROUND) == wanted[part])
    return {part: round(float(np.mean(found)), 4) if found else 0.0 for part, found in hits.items()}


def inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without its outermost pixels, where colours mix; as it is when nothing would be left."""
    cut = mask.copy()
    cut[1:] &= mask[:-1]
    cut[:-1] &= mask[1:]
    cut[:, 1:] &= mask[:, :-1]
    cut[:, :-1] &= mask[:, 1:]
    return cut if cut.sum() >= _LEAST_PIXELS else mask


def shows_one_body(picture: NDArray[np.uint8]) -> bool:
    """Say whether what is not ground is one piece of a body's size."""
    figure = figure_of(picture)
    low, high = _BODY_AREA
    if not low <= figure.mean() <= high:
        return False
    return largest_piece(figure) >= _ONE_BODY * int(figure.sum())


def figure_of(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what differs from the ground; the ground of a row is what its two ends look like."""
    pixels = picture.astype(np.float32)
    edge = max(2, picture.shape[1] // 32)
    ends = np.stack([np.median(pixels[:, :edge], axis=1), np.median(pixels[:, -edge:], axis=1)])
    unlike = np.abs(pixels[None] - ends[:, :, None]).mean(axis=3).min(axis=0)
    figure = unlike > _UNLIKE_GROUND
    # A pixel alone is noise, not a body.
    near = np.sum([np.roll(figure, shift, axis) for axis in (0, 1) for shift in (-1, 1)], axis=0)
    kept: NDArray[np.bool_] = figure & (near >= 2)
    return kept


def largest_piece(mask: NDArray[np.bool_]) -> int:
    """Return how many pixels the largest connected piece has (neighbours share an edge)."""
    left = mask.copy()
    largest = 0
    while left.any():
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        stack, size = [(int(row), int(column))], 0
        left[row, column] = False
        while stack:
            y, x = stack.pop()
            size += 1
            for down, across in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= down < left.shape[0] and 0 <= across < left.shape[1] and left[down, across]:
                    left[down, across] = False
                    stack.append((down, across))
        largest = max(largest, size)
    return largest
