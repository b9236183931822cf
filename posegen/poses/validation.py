"""What a library pose must keep to before anybody pays for a picture of it.

Each rule answers with findings instead of raising, so that an author sees everything at once. Limits of joints are
the usual ranges of motion of a healthy adult, with a little room, because a pose is a drawing and not a measurement.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from models.detectors.people import BODY_MIRROR
from posegen.poses import anatomy
from posegen.poses.anatomy import Vec3
from posegen.poses.authoring import AuthoredPose
from posegen.poses.figure import SolvedFigure, chest_front, rolled
from posegen.poses.keypoints import Person
from posegen.poses.skeleton import (
    BODY_NAMES,
    L_ANKLE,
    L_EAR,
    L_EYE,
    L_SHOULDER,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_EYE,
    R_SHOULDER,
)

_MARGIN: Final = 0.015
_LEAST_ABOVE: Final = 0.01  # between the top of a head, which is no key-point, and the edge
_LEAST_EXTENT: Final = 0.45  # of the canvas, on the longer side of the figure
_LEAST_SEEN: Final = 8
_LONGER_THAN_BONE: Final = 1.06
_MOST_FORESHORTENED: Final = 0.25
_UNLIKE_SIDES: Final = 1.17
_MOST_BEND: Final = {"elbow": 150.0, "knee": 155.0}
_MOST_TWIST: Final = 50.0
_MOST_SIDEWAYS: Final = 40.0
_MOST_HEAD_TURN: Final = 80.0
_MOST_BACKWARDS_ARM: Final = -0.9  # upper arm against the chest's front: the cosine of 64 degrees behind the body
_LEAST_KNEE_HINGE: Final = -0.16  # a straight knee may look bent forward by this sine, nine degrees
_OFF_BALANCE: Final = 0.05  # of the standing height, beyond the feet
_NEAR_DUPLICATE: Final = 0.045  # of the canvas's height, that some joint or fingertip lies elsewhere

_BONES: Final = (
    (2, 3, anatomy.UPPER_ARM), (3, 4, anatomy.FOREARM), (5, 6, anatomy.UPPER_ARM), (6, 7, anatomy.FOREARM),
    (8, 9, anatomy.THIGH), (9, 10, anatomy.SHANK), (11, 12, anatomy.THIGH), (12, 13, anatomy.SHANK),
)  # fmt: skip
_PAIRS: Final = ((0, 2), (1, 3), (4, 6), (5, 7))  # the same bone of the right and the left side, in _BONES
_HINGES: Final = (("elbow", 2, 3, 4), ("elbow", 5, 6, 7), ("knee", 8, 9, 10), ("knee", 11, 12, 13))
_TIPS: Final = (4, 8, 12, 16, 20)  # of the fingers, in a hand's 21 points
_MIRROR: Final = (*BODY_MIRROR, *range(23, 28), *range(18, 23))
# Share of the body's weight, and the ends of the segment it lies in the middle of (Winter's table).
_WEIGHTS: Final = (
    (0.028, 2, 3), (0.022, 3, 4), (0.028, 5, 6), (0.022, 6, 7),
    (0.100, 8, 9), (0.061, 9, 10), (0.100, 11, 12), (0.061, 12, 13),
    (0.081, 0, 1), (0.2485, 1, 8), (0.2485, 1, 11),
)  # fmt: skip

_XY = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong with one pose: which rule, and what to look at."""

    slug: str
    rule: str
    message: str


def validate_poses(poses: Sequence[AuthoredPose]) -> tuple[Finding, ...]:
    """Check every pose by itself and all against each other for near-duplicates. An empty answer means all is well."""
    findings = [finding for pose in poses for finding in validate_pose(pose)]
    for first, second in combinations(poses, 2):
        distance = pose_distance(first, second)
        if distance < _NEAR_DUPLICATE:
            message = f"is nearly the same as {first.slug} (no point lies further off than {distance:.3f})"
            findings.append(Finding(slug=second.slug, rule="duplicate", message=message))
    return tuple(findings)


def validate_pose(authored: AuthoredPose) -> tuple[Finding, ...]:
    """Check one pose: frame, proportions, sides, joint limits, balance."""
    messages: list[tuple[str, str]] = []
    for person, solved in zip(authored.pose.people, authored.figures, strict=True):
        points = _isotropic(person, authored.pose.aspect)
        stature = solved.figure.placement.stature if solved else _guessed_stature(points)
        messages += [("frame", m) for m in _frame(person, cut_off=authored.support == "cut_off")]
        messages += [("proportions", m) for m in _proportions(points, stature, with_depth=solved is not None)]
        if not _seen_from_behind(solved):
            messages += [("sides", m) for m in _sides(points, stature)]
        if solved is not None:
            messages += [("joints", m) for m in _joints(solved)]
        if authored.support == "feet":
            messages += [("balance", m) for m in _balance(points, stature)]
    return tuple(Finding(slug=authored.slug, rule=rule, message=message) for rule, message in messages)


def pose_distance(first: AuthoredPose, second: AuthoredPose) -> float:
    """Return how unlike two poses are: how far the point that differs most lies off, in heights of the canvas.

    Necks are laid on each other, and the mirrored pose counts as well. Not the mean, because one arm makes another
    pose; not in heights of the body, because the same stand seen close is another picture. Infinite for different
    numbers of people and for poses that show different parts of the body.
    """
    if len(first.pose.people) != len(second.pose.people):
        return math.inf
    pairs = list(zip(_normalised(first), _normalised(second), strict=True))
    straight = max(_largest_distance(a, b) for a, b in pairs)
    flipped = max(_largest_distance(a, _flipped(b)) for a, b in pairs)
    return min(straight, flipped)


def _frame(person: Person, *, cut_off: bool) -> Iterator[str]:
    seen = list(person.seen_points())
    left, right = min(p.x for p in seen), max(p.x for p in seen)
    top, bottom = min(p.y for p in seen), max(p.y for p in seen)
    if left < _MARGIN or right > 1 - _MARGIN or top < _MARGIN or (bottom > 1 - _MARGIN and not cut_off):
        yield f"reaches the edge of the frame (x {left:.3f}..{right:.3f}, y {top:.3f}..{bottom:.3f})"
    crown = _crown(person)
    if crown is not None and not (crown[1] > _LEAST_ABOVE and _LEAST_ABOVE < crown[0] < 1 - _LEAST_ABOVE):
        yield f"cuts the top of the head off (at x {crown[0]:.3f}, y {crown[1]:.3f})"
    soles = [] if cut_off else [sole for sole in (_sole(person, 9, 10), _sole(person, 12, 13)) if sole is not None]
    if any(not (0 < x < 1 and y < 1) for x, y in soles):
        yield "cuts a foot off"
    if max(right - left, bottom - top) < _LEAST_EXTENT:
        yield "is too small in its frame"
    count = sum(1 for p in person.body if p is not None)
    if count < _LEAST_SEEN:
        yield f"shows only {count} of the body's points"


def _crown(person: Person) -> _XY | None:
    """Return where the top of the head is drawn, which no key-point marks: on from the neck through the eyes."""
    neck, seen = person.body[NECK], [p for i in (R_EYE, L_EYE, R_EAR, L_EAR) if (p := person.body[i])]
    if neck is None or not seen:
        return None
    x, y = sum(p.x for p in seen) / len(seen), sum(p.y for p in seen) / len(seen)
    further = anatomy.HEAD_ABOVE_NECK / anatomy.LEFT_EYE[1]
    return neck.x + (x - neck.x) * further, neck.y + (y - neck.y) * further


def _sole(person: Person, knee: int, ankle: int) -> _XY | None:
    start, end = person.body[knee], person.body[ankle]
    if start is None or end is None:
        return None
    further = 1 + anatomy.ANKLE_HEIGHT / anatomy.SHANK
    return start.x + (end.x - start.x) * further, start.y + (end.y - start.y) * further


def _proportions(points: list[_XY | None], stature: float, *, with_depth: bool) -> Iterator[str]:
    lengths = [math.dist(a, b) / stature if (a := points[i]) and (b := points[j]) else None for i, j, _ in _BONES]
    for length, (start, end, bone) in zip(lengths, _BONES, strict=True):
        if length is None:
            continue
        if length > bone * _LONGER_THAN_BONE:
            yield f"{BODY_NAMES[start]} to {BODY_NAMES[end]} is {length / bone:.2f} times as long as the bone"
        if length < bone * _MOST_FORESHORTENED:
            yield f"{BODY_NAMES[start]} to {BODY_NAMES[end]} points so far at the viewer that it shows nothing"
    if with_depth:
        return  # sides may differ by as much as the depth says, which the longest length already bounds
    for right, left in _PAIRS:
        mine, other, bone = lengths[right], lengths[left], _BONES[right][2]
        if mine and other and min(mine, other) > bone * 0.8 and max(mine, other) / min(mine, other) > _UNLIKE_SIDES:
            yield f"the limbs ending at {BODY_NAMES[_BONES[right][1]]} and on the other side differ in length"


def _seen_from_behind(solved: SolvedFigure | None) -> bool:
    """Say whether the sides cannot be told from the picture: somebody who looks back over their own shoulder."""
    return solved is not None and abs(solved.figure.torso.chest_turn) > 90


def _sides(points: list[_XY | None], stature: float) -> Iterator[str]:
    right, left = points[R_SHOULDER], points[L_SHOULDER]
    if points[NOSE] and right and left and right[0] - left[0] > 0.5 * anatomy.HALF_SHOULDERS * stature:
        yield "shows the face, but the right shoulder on the viewer's right: left and right are exchanged"


def _joints(solved: SolvedFigure) -> Iterator[str]:
    torso, head, body = solved.figure.torso, solved.figure.head, solved.body
    if abs(torso.chest_turn - torso.hips_turn) > _MOST_TWIST:
        yield f"twists the chest {abs(torso.chest_turn - torso.hips_turn):.0f} degrees against the hips"
    if abs(head.turn - torso.chest_turn) > _MOST_HEAD_TURN:
        yield f"turns the head {abs(head.turn - torso.chest_turn):.0f} degrees against the chest"
    sideways = abs(torso.lean * math.cos(math.radians(torso.hips_turn)))
    if sideways > _MOST_SIDEWAYS:
        yield f"bends the spine {sideways:.0f} degrees to the side"
    turn, roll = math.radians(torso.hips_turn), solved.figure.placement.roll
    hips_left = rolled((math.cos(turn), 0.0, -math.sin(turn)), roll)
    front = rolled(chest_front(torso), roll)
    for name, root, hinge, tip in _HINGES:
        upper, lower = _towards(body, root, hinge), _towards(body, hinge, tip)
        bend = math.degrees(math.acos(max(-1.0, min(1.0, _dot(upper, lower)))))
        if bend > _MOST_BEND[name]:
            yield f"bends {BODY_NAMES[hinge]} by {bend:.0f} degrees"
        if name == "knee" and _dot(_cross(upper, lower), hips_left) < _LEAST_KNEE_HINGE:
            yield f"bends {BODY_NAMES[hinge]} forwards"
        if name == "elbow" and _dot(upper, front) < _MOST_BACKWARDS_ARM:
            yield f"pulls {BODY_NAMES[hinge]} too far behind the back"


def _balance(points: list[_XY | None], stature: float) -> Iterator[str]:
    feet = [p for i in (R_ANKLE, L_ANKLE) if (p := points[i])]
    if not feet:
        yield "stands on its feet, but shows no ankle"
        return
    carried = [(w, (a[0] + b[0]) / 2) for w, i, j in _WEIGHTS if (a := points[i]) and (b := points[j])]
    if not carried:
        return
    centre = sum(w * x for w, x in carried) / sum(w for w, _ in carried)
    room = _OFF_BALANCE * stature
    if not min(x for x, _ in feet) - room <= centre <= max(x for x, _ in feet) + room:
        yield "would fall over: the weight does not lie above the feet"


def _isotropic(person: Person, aspect: float) -> list[_XY | None]:
    return [None if p is None else (p.x * aspect, p.y) for p in person.body]


def _guessed_stature(points: Sequence[_XY | None]) -> float:
    """Return the second longest guess of the standing height: foreshortening only shortens, and one may be wrong."""
    guesses = sorted(math.dist(a, b) / bone for i, j, bone in _BONES if (a := points[i]) and (b := points[j]))
    return (guesses[-2:][0] if guesses else 0.0) or 1.0  # points that all fall together have no height either


def _normalised(authored: AuthoredPose) -> list[list[_XY | None]]:
    people = []
    for person in authored.pose.people:
        points = _isotropic(person, authored.pose.aspect)
        neck = points[1] or next(p for p in points if p)
        for hand in (person.hand_right, person.hand_left):
            tips = [hand[i] for i in _TIPS] if hand else [None] * len(_TIPS)
            points += [None if p is None else (p.x * authored.pose.aspect, p.y) for p in tips]
        people.append([None if p is None else (p[0] - neck[0], p[1] - neck[1]) for p in points])
    return people


def _flipped(points: list[_XY | None]) -> list[_XY | None]:
    return [None if (p := points[i]) is None else (-p[0], p[1]) for i in _MIRROR]


def _largest_distance(first: list[_XY | None], second: list[_XY | None]) -> float:
    both = [(a, b) for a, b in zip(first, second, strict=True) if a and b]
    seen = max(sum(1 for p in points[:18] if p) for points in (first, second))
    if len(both) < max(1, 0.75 * seen):
        return math.inf
    return max(math.dist(a, b) for a, b in both)


def _towards(body: tuple[Vec3 | None, ...], start: int, end: int) -> Vec3:
    a, b = body[start] or (0.0, 0.0, 0.0), body[end] or (0.0, 0.0, 0.0)
    length = math.dist(a, b) or 1.0
    return (b[0] - a[0]) / length, (b[1] - a[1]) / length, (b[2] - a[2]) / length


def _dot(a: Vec3, b: Vec3) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vec3, b: Vec3) -> Vec3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
