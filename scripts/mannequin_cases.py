"""What the mannequin is scored on: held-back random poses and the library's, each with a held-back look and caption."""

from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from mannequin_looks import Look, plain_caption, random_look
from mannequin_pictures import HELD_BACK, control_map, torso_px
from mannequin_render import BOTTOM, GROUND, TOP, render
from mannequin_skeletons import random_figure
from numpy.typing import NDArray

from posegen.poses import read_library
from posegen.poses.figure import SolvedFigure

SCORED = {"shirt": TOP, "trousers": BOTTOM, "background": GROUND}
"""Parts whose colour is asked for, by their name in the answer."""


RANDOM = "random-"
"""How the names of cases begin that are no library poses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One wanted picture: the pose, the words, and the truth as the renderer would draw it."""

    name: str
    look: Look
    prompt: str
    map: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    joints: NDArray[np.float32]
    seen: NDArray[np.bool_]
    torso_px: float


def score_cases(count: int, side_px: int, *, seed: int = 1, library: int | None = None) -> list[Case]:
    """Return `count` cases; the last are library poses of one person, at most `library` of them (None: all)."""
    poses = library_figures()[:library]
    random = max(0, count - len(poses))
    drawn = [
        (f"{RANDOM}{index}", random_figure(Random(f"{HELD_BACK}:{seed}:pose:{index}"))[1]) for index in range(random)
    ]
    wanted = [*drawn, *poses][:count]
    return [
        _case(name, solved, random_look(Random(f"{HELD_BACK}:{seed}:look:{index}")), side_px)
        for index, (name, solved) in enumerate(wanted)
    ]


def library_figures() -> list[tuple[str, SolvedFigure]]:
    """Return the library's poses of one person on a square, by slug; no training picture has any of them."""
    return [
        (pose.slug, pose.figures[0])
        for pose in read_library().poses
        if len(pose.figures) == 1 and pose.figures[0] is not None and pose.pose.aspect == 1.0
    ]


def _case(name: str, solved: SolvedFigure, look: Look, side_px: int) -> Case:
    rendered = render(solved, look, side_px)
    return Case(
        name=name,
        look=look,
        prompt=plain_caption(look),
        map=control_map(solved, side_px),
        truth=rendered.pixels,
        parts=rendered.parts,
        joints=rendered.joints,
        seen=rendered.seen,
        torso_px=torso_px(solved, side_px),
    )


def stacked(cases: list[Case], name: str) -> Any:
    """Return one field of all cases as an array."""
    return np.stack([getattr(case, name) for case in cases])
