"""Fitting a pose onto a canvas of another shape without stretching anybody.

The rule: every body keeps its proportions, and the people stay as large as they were (as a share of the canvas's
height) while they still fit; on a narrower canvas they shrink only as far as needed. A figure cut off by the lower
edge (a portrait) stays on that edge; everything else shrinks around the middle of the frame.
"""

import math
from typing import Final

from posegen.poses.errors import PoseRefused
from posegen.poses.keypoints import LEAST_COORDINATE, MOST_COORDINATE, KeyPoint, Person, Points, Pose

_SIDE_MARGIN: Final = 0.04  # of the new width, kept free at both sides if the people must shrink or move
_CUT_OFF_FROM: Final = 0.97  # people who reach below this share of the height are taken as cut off by the frame


def frame_pose(pose: Pose, aspect: float) -> Pose:
    """Return the pose on a canvas of `aspect` (width / height), bodies unstretched, people fitted as large as possible.

    The same aspect gives the pose back unchanged. Raises PoseRefused for an aspect no canvas can have.
    """
    if not (math.isfinite(aspect) and aspect > 0):
        raise PoseRefused("aspect", f"is {aspect}, but must be a positive number")
    if math.isclose(aspect, pose.aspect, rel_tol=1e-6):
        return pose
    # In units of the canvas height: the old canvas is pose.aspect x 1, the new one aspect x 1.
    points = list(pose.seen_points())
    left = max(0.0, min(p.x for p in points)) * pose.aspect
    right = min(1.0, max(p.x for p in points)) * pose.aspect
    room = aspect * (1 - 2 * _SIDE_MARGIN)
    letterbox = min(1.0, aspect / pose.aspect)
    scale = min(1.0, max(letterbox, room / (right - left))) if right > left else 1.0
    cut_off = max(p.y for p in points) >= _CUT_OFF_FROM
    anchor_y = 1.0 if cut_off else 0.5
    width = (right - left) * scale
    spare = aspect - width
    slack = pose.aspect - (right - left)
    share = left / slack if slack > 1e-9 else 0.5  # keep how far to the side the people stand
    moved_left = min(max(spare * min(max(share, 0.0), 1.0), 0.0), spare)

    def moved(point: KeyPoint | None) -> KeyPoint | None:
        if point is None:
            return None
        x = (moved_left + (point.x * pose.aspect - left) * scale) / aspect
        y = anchor_y + (point.y - anchor_y) * scale
        if not (LEAST_COORDINATE <= x <= MOST_COORDINATE and LEAST_COORDINATE <= y <= MOST_COORDINATE):
            return None  # outside of the old canvas already, and now too far to shape anything
        return KeyPoint(x, y, point.c)

    def part(points: Points | None) -> Points | None:
        return None if points is None else tuple(moved(p) for p in points)

    people = tuple(
        Person(
            body=part(person.body) or (),
            hand_left=part(person.hand_left),
            hand_right=part(person.hand_right),
            face=part(person.face),
        )
        for person in pose.people
    )
    return Pose(people=people, aspect=aspect)
