"""How closely the people of a picture hold the pose that was wanted: COCO's object keypoint similarity (OKS).

Per wanted joint exp(-d² / (2 s² k²)): d is how far off it was found, k COCO's constant of the joint, how exactly people
agree where it is, and s the size of the wanted person. 1 is a perfect hit, 0.6 a joint that is off by s k. A joint or a
person that was not found counts as 0, and left is not right: a mirrored figure scores low unless its pose is symmetric.
"""

import math
from collections.abc import Sequence
from typing import Final

from posegen.poses import anatomy
from posegen.poses.keypoints import KeyPoint, Person, Pose
from posegen.poses.skeleton import (
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)

_SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE, _ANKLE = 0.079, 0.072, 0.062, 0.107, 0.087, 0.089
_NOSE, _EYE, _EAR = 0.026, 0.025, 0.035
_NECK: Final = 0.079  # COCO has none; this is CrowdPose's
SIGMAS: Final = (
    *(_NOSE, _NECK, _SHOULDER, _ELBOW, _WRIST, _SHOULDER, _ELBOW, _WRIST),
    *(_HIP, _KNEE, _ANKLE, _HIP, _KNEE, _ANKLE, _EYE, _EYE, _EAR, _EAR),
)
"""The spread of people's own marks, by body point, as in cocoapi's cocoeval.py; k is twice that."""

AREA_OF_HEIGHT: Final = 0.17
"""What the outline of a standing person covers, of the square of their height. COCO takes s² from the outline."""

_BONES: Final = (
    (R_SHOULDER, R_ELBOW, anatomy.UPPER_ARM),
    (L_SHOULDER, L_ELBOW, anatomy.UPPER_ARM),
    (R_ELBOW, R_WRIST, anatomy.FOREARM),
    (L_ELBOW, L_WRIST, anatomy.FOREARM),
    (R_HIP, R_KNEE, anatomy.THIGH),
    (L_HIP, L_KNEE, anatomy.THIGH),
    (R_KNEE, R_ANKLE, anatomy.SHANK),
    (L_KNEE, L_ANKLE, anatomy.SHANK),
    (NECK, R_HIP, math.hypot(anatomy.SPINE, anatomy.HALF_HIPS)),
    (NECK, L_HIP, math.hypot(anatomy.SPINE, anatomy.HALF_HIPS)),
    (R_SHOULDER, L_SHOULDER, 2 * anatomy.HALF_SHOULDERS),
    (R_HIP, L_HIP, 2 * anatomy.HALF_HIPS),
    (NECK, NOSE, math.hypot(*anatomy.NOSE_TIP)),
    (R_EAR, L_EAR, 2 * anatomy.LEFT_EAR[0]),
)
"""Two points and how far they are apart in space, as a share of the standing height."""


def pose_score(wanted: Pose, found: Pose | None) -> float | None:
    """Return 0..1: the mean over the wanted people, each matched with one that was found, so that the mean is best.

    Both are on canvases of one aspect; found None: nobody was. Only wanted joints inside the frame count, and only of
    bodies; None when there is no such joint. People that nobody wanted cost nothing.
    """
    judged = [person for person in wanted.people if any(_is_inside(point) for point in person.body)]
    if not judged:
        return None
    candidates = () if found is None else found.people
    table = [[_similarity(person, other, wanted.aspect) for other in candidates] for person in judged]
    return _best_total(table) / len(judged)


def _similarity(wanted: Person, found: Person, aspect: float) -> float:
    """Return the OKS of one person against another, over the wanted joints inside the frame."""
    area = AREA_OF_HEIGHT * _standing_height(wanted, aspect) ** 2
    total, joints = 0.0, 0
    for want, have, sigma in zip(wanted.body, found.body, SIGMAS, strict=True):
        if want is None or not _is_inside(want):
            continue
        joints += 1
        if have is not None:
            total += math.exp(-(_distance(want, have, aspect) ** 2) / (2 * area * (2 * sigma) ** 2))
    return total / joints


def _standing_height(person: Person, aspect: float) -> float:
    """Return how tall the person is when standing, in heights of the canvas.

    Bones that point at the viewer look short, so the longest ones tell; the very longest may be an odd one.
    """
    heights = sorted(
        (
            _distance(a, b, aspect) / share
            for start, end, share in _BONES
            if (a := person.body[start]) is not None and (b := person.body[end]) is not None
        ),
        reverse=True,
    )
    told = heights[1:2] if len(heights) > 2 else heights[:1]
    return told[0] if told and told[0] > 0 else min(1.0, aspect)  # a lone joint: of somebody who fills the canvas


def _distance(a: KeyPoint, b: KeyPoint, aspect: float) -> float:
    return math.hypot((a.x - b.x) * aspect, a.y - b.y)


def _is_inside(point: KeyPoint | None) -> bool:
    return point is not None and 0 <= point.x <= 1 and 0 <= point.y <= 1


def _best_total(table: Sequence[Sequence[float]]) -> float:
    """Return the largest sum of one number a row, none of them in the same column; a row may go without.

    By the set of columns taken so far: of at most 8 people those are few.
    """
    best = {frozenset[int](): 0.0}
    for row in table:
        following = dict(best)
        for taken, total in best.items():
            for column, value in enumerate(row):
                if column not in taken:
                    with_it = taken | {column}
                    following[with_it] = max(following.get(with_it, 0.0), total + value)
        best = following
    return max(best.values())
