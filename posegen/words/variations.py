"""Several pictures of one chosen pose that are not the same picture: mirrored, or each joint moved a little.

The first is the pose itself. A mirror image is only used where nobody named a side, and alone only where it looks
different. Which way the joints move comes from the picture's seed alone, so an order with a seed is drawn alike again;
what the validator would refuse is moved otherwise or less, in the end not at all. A joint moves at least half as far as
it may: customers pay for pictures that they can tell apart.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from posegen.poses.authoring import AuthoredPose
from posegen.poses.figure import Arm, Bone, Figure, Leg
from posegen.poses.keypoints import Pose
from posegen.poses.transforms import mirrored_pose
from posegen.words.bending import with_figures

_ARM: Final = 6.0  # degrees at most
_LEG: Final = 4.0
_HEAD: Final = 12.0
_HEAD_ALONE: Final = 20.0  # where nothing else moves
_CHEST: Final = 5.0
_LEAN: Final = 2.0
_TRIES: Final = (1.0, 1.0, 1.0, 0.6, 0.6, 0.3)
_AS_TALL_AS: Final = 0.9  # of the canvas: who is seen larger moves less for the same difference in the picture
_LOOKS_DIFFERENT: Final = 0.06  # of the canvas's height, that some joint of the mirror image lies elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One picture's pose, and what was done to the chosen one."""

    pose: Pose
    mirrored: bool
    moved: bool


def variations_of(authored: AuthoredPose, seeds: Iterable[int], *, may_mirror: bool) -> list[Variation]:
    """Return a variation per seed."""
    found = []
    for index, seed in enumerate(seeds):
        mirrored = may_mirror and index % 2 == 1
        as_it_is = index == 0 or (mirrored and index == 1 and _is_lopsided(authored.pose))
        moved = None if as_it_is else _moved(authored, random.Random(seed))  # noqa: S311
        pose = authored.pose if moved is None else moved.pose
        found.append(
            Variation(pose=mirrored_pose(pose) if mirrored else pose, mirrored=mirrored, moved=moved is not None)
        )
    return found


def _is_lopsided(pose: Pose) -> bool:
    """Tell whether the mirror image looks like another pose."""
    pairs = zip(pose.people, mirrored_pose(pose).people, strict=True)
    joints = (joint for ours, theirs in pairs for joint in zip(ours.body, theirs.body, strict=True))
    return any(
        math.hypot((a.x - b.x) * pose.aspect, a.y - b.y) >= _LOOKS_DIFFERENT
        for a, b in joints
        if a is not None and b is not None
    )


def _moved(authored: AuthoredPose, lot: random.Random) -> AuthoredPose | None:
    figures = [solved.figure for solved in authored.figures if solved is not None]
    if len(figures) != len(authored.figures):
        return None  # key-points alone do not say how far a joint may go
    for share in _TRIES:
        # Where people touch each other, only heads move.
        moved = with_figures(
            authored, tuple(_swayed(figure, lot, share, whole=len(figures) == 1) for figure in figures)
        )
        if moved is not None:
            return moved
    return None


def _swayed(figure: Figure, lot: random.Random, share: float, *, whole: bool) -> Figure:
    share *= min(1.0, _AS_TALL_AS / figure.placement.stature) ** 0.5

    def by(most: float) -> float:
        return lot.choice((-1, 1)) * lot.uniform(most / 2, most) * share

    def bone(bone: Bone, most: float) -> Bone:
        return Bone(swing=bone.swing + by(most), depth=max(-90.0, min(90.0, bone.depth + by(most))))

    def arm(arm: Arm) -> Arm:
        return replace(arm, upper=bone(arm.upper, _ARM), lower=bone(arm.lower, _ARM))

    def leg(leg: Leg) -> Leg:
        return Leg(upper=bone(leg.upper, _LEG), lower=bone(leg.lower, _LEG))

    most = _HEAD if whole else _HEAD_ALONE
    head = replace(
        figure.head,
        turn=figure.head.turn + by(most),
        nod=figure.head.nod + by(most / 2),
        tilt=figure.head.tilt + by(most / 2),
    )
    if not whole:
        return replace(figure, head=head)
    torso = replace(figure.torso, lean=figure.torso.lean + by(_LEAN), chest_turn=figure.torso.chest_turn + by(_CHEST))
    return replace(
        figure,
        head=head,
        torso=torso,
        right_arm=arm(figure.right_arm),
        left_arm=arm(figure.left_arm),
        right_leg=leg(figure.right_leg),
        left_leg=leg(figure.left_leg),
    )
