"""Forward kinematics: from a figure's joint angles to its points in three dimensions, and flat onto a canvas.

Angles are absolute, as an animator draws them on paper, not relative to the parent bone. A limb has a `swing` in
the plane of the picture (0 hangs straight down, positive away from the body to the person's own side, 90 is level,
180 straight up) and a `depth` towards the viewer (positive) or away from them; the foreshortening is the cosine of
the depth, so no drawn limb can be longer than the bone it shows. The projection is orthographic.

Space here: x to the viewer's right, y up, z towards the viewer; unit: the figure's standing height.
"""

import math
from dataclasses import dataclass
from typing import Final

from posegen.poses import anatomy
from posegen.poses.anatomy import Vec3
from posegen.poses.keypoints import KeyPoint, Person
from posegen.poses.skeleton import (
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)

_FACE_SHOWN_TO: Final = 60.0  # degrees of head turn; beyond, landmarks of the far half fall on each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Bone:
    """A direction in degrees: swing in the picture, depth towards the viewer."""

    swing: float
    depth: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A hand: the name of its shape, how the palm turns, and where the fingers point (None: on from the forearm).

    palm 0 shows the palm to the viewer, 90 its edge with the thumb in front, 180 the back of the hand.
    """

    shape: str
    palm: float = 90.0
    points: Bone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Upper arm and forearm; no hand means that it is hidden (in a pocket, behind the back)."""

    upper: Bone
    lower: Bone
    hand: Hand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """Thigh and shank."""

    upper: Bone
    lower: Bone


@dataclass(frozen=True, slots=True, kw_only=True)
class Torso:
    """lean: to the viewer's right; bow: towards the viewer; turns: to the viewer's right; tilts: left side up."""

    lean: float = 0.0
    bow: float = 0.0
    hips_turn: float = 0.0
    hips_tilt: float = 0.0
    chest_turn: float = 0.0
    chest_tilt: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """turn: to the viewer's right; nod: down; tilt: crown to the viewer's right. All absolute.

    face: with landmarks, smiling from 0 to 1.
    """

    turn: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    face: bool = False
    smile: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the figure stands on the canvas: standing height as a share of the canvas height, x, and one height.

    `height` is where the `anchor` (ground under the lowest foot, middle of the hips, or neck) lies, in 0..1 downwards.
    x is the middle of the body's width for `ground` and `hip`, and the neck itself for `neck`. `roll` turns the whole
    figure in the picture after everything else, crown to the viewer's right: -90 lays a standing figure down, its
    head to the viewer's left. All other angles are those before the roll.
    """

    stature: float
    anchor: str
    height: float
    x: float = 0.5
    roll: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Everything an author says about one person."""

    placement: Placement
    torso: Torso
    head: Head
    right_arm: Arm
    left_arm: Arm
    right_leg: Leg
    left_leg: Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedFigure:
    """The figure's points in space, before the canvas: 18 body points (None: turned away), hands and face."""

    figure: Figure
    body: tuple[Vec3 | None, ...]
    hand_right: tuple[Vec3, ...] | None
    hand_left: tuple[Vec3, ...] | None
    face: tuple[Vec3, ...] | None


def solve(figure: Figure) -> SolvedFigure:
    """Place every joint of the figure in space, the middle of the hips at the origin."""
    torso = figure.torso
    up = _up(torso.lean, torso.bow)
    neck = _times(up, anatomy.SPINE)
    points: dict[int, Vec3] = {1: neck}
    hands: dict[int, tuple[Vec3, ...] | None] = {}
    for side, arm, leg, arm_ids, leg_ids in (
        (-1, figure.right_arm, figure.right_leg, (R_SHOULDER, R_ELBOW, R_WRIST), (R_HIP, R_KNEE, R_ANKLE)),
        (1, figure.left_arm, figure.left_leg, (L_SHOULDER, L_ELBOW, L_WRIST), (L_HIP, L_KNEE, L_ANKLE)),
    ):
        upper, lower = _direction(arm.upper, side), _direction(arm.lower, side)
        across = _across(torso.chest_turn, torso.chest_tilt)
        rise = anatomy.SHOULDER_RISE * max(0.0, (math.degrees(math.acos(max(-1.0, min(1.0, -upper[1])))) - 70) / 110)
        shoulder = _sum(neck, _times(across, side * anatomy.HALF_SHOULDERS), _times(up, rise))
        elbow = _sum(shoulder, _times(upper, anatomy.UPPER_ARM))
        wrist = _sum(elbow, _times(lower, anatomy.FOREARM))
        hip = _times(_across(torso.hips_turn, torso.hips_tilt), side * anatomy.HALF_HIPS)
        knee = _sum(hip, _times(_direction(leg.upper, side), anatomy.THIGH))
        ankle = _sum(knee, _times(_direction(leg.lower, side), anatomy.SHANK))
        points.update(zip((*arm_ids, *leg_ids), (shoulder, elbow, wrist, hip, knee, ankle), strict=True))
        hands[side] = None if arm.hand is None else _hand_points(arm.hand, wrist, lower, side)
    head, face = _head_points(figure, neck, up)
    body = tuple(points.get(i) if 0 < i < 14 else head.get(i) for i in range(18))
    roll = figure.placement.roll
    return SolvedFigure(
        figure=figure,
        body=tuple(None if p is None else rolled(p, roll) for p in body),
        hand_right=_all_rolled(hands[-1], roll),
        hand_left=_all_rolled(hands[1], roll),
        face=_all_rolled(face, roll),
    )


def rolled(point: Vec3, roll: float) -> Vec3:
    """Turn a point or a direction in the plane of the picture, clockwise for the viewer, in degrees."""
    if not roll:
        return point
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return point[0] * cos + point[1] * sin, point[1] * cos - point[0] * sin, point[2]


def chest_front(torso: Torso) -> Vec3:
    """Return where the chest faces, before the roll: square to the spine and to the line of the shoulders."""
    return _unit(_cross(_across(torso.chest_turn, torso.chest_tilt), _up(torso.lean, torso.bow)))


def _all_rolled(points: tuple[Vec3, ...] | None, roll: float) -> tuple[Vec3, ...] | None:
    return None if points is None else tuple(rolled(p, roll) for p in points)


def project(solved: SolvedFigure, aspect: float) -> Person:
    """Put the solved figure flat on its canvas. Points outside of the frame are left out, as a detector would."""
    place = solved.figure.placement
    seen = [p for p in solved.body if p is not None]
    neck = solved.body[1] or (0.0, 0.0, 0.0)
    low = min(p[1] for i in (R_ANKLE, L_ANKLE) if (p := solved.body[i]) is not None) - anatomy.ANKLE_HEIGHT
    middle = (min(p[0] for p in seen) + max(p[0] for p in seen)) / 2
    anchor_x, anchor_y = {"ground": (middle, low), "hip": (middle, 0.0), "neck": (neck[0], neck[1])}[place.anchor]

    def flat(point: Vec3 | None) -> KeyPoint | None:
        if point is None:
            return None
        x = place.x + (point[0] - anchor_x) * place.stature / aspect
        y = place.height - (point[1] - anchor_y) * place.stature
        return KeyPoint(x, y) if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 else None

    def part(points: tuple[Vec3 | None, ...] | None) -> tuple[KeyPoint | None, ...] | None:
        return None if points is None else tuple(flat(p) for p in points)

    hand_left, hand_right, face = part(solved.hand_left), part(solved.hand_right), part(solved.face)
    return Person(body=part(solved.body) or (), hand_left=hand_left, hand_right=hand_right, face=face)


def _head_points(figure: Figure, neck: Vec3, up: Vec3) -> tuple[dict[int, Vec3], tuple[Vec3, ...] | None]:
    head = figure.head
    # The neck bends half as far as the spine, and carries the head a little towards where it looks down.
    axis = _unit(_sum(up, (0.0, 1.0, 0.0)))
    pivot = _sum(neck, _times(axis, anatomy.HEAD_PIVOT[1]))

    def placed(point: Vec3) -> Vec3:
        x, y, z = (a - b for a, b in zip(point, anatomy.HEAD_PIVOT, strict=True))
        return _sum(pivot, _turned((x, y, z), head))

    def faces_viewer(normal: Vec3, least: float) -> bool:
        return _turned(_unit(normal), head)[2] > least

    eye, ear = anatomy.LEFT_EYE, anatomy.LEFT_EAR
    candidates = (
        (0, anatomy.NOSE_TIP, (0.0, 0.0, 1.0), -0.2),
        (14, (-eye[0], eye[1], eye[2]), (-0.5, 0.0, 0.87), -0.05),
        (15, eye, (0.5, 0.0, 0.87), -0.05),
        (16, (-ear[0], ear[1], ear[2]), (-0.98, 0.0, -0.2), -0.55),
        (17, ear, (0.98, 0.0, -0.2), -0.55),
    )
    shown = {index: placed(point) for index, point, normal, least in candidates if faces_viewer(normal, least)}
    with_face = head.face and abs(head.turn) <= _FACE_SHOWN_TO
    return shown, tuple(placed(p) for p in anatomy.face_points(head.smile)) if with_face else None


def _hand_points(hand: Hand, wrist: Vec3, forearm: Vec3, side: int) -> tuple[Vec3, ...]:
    shape = anatomy.HAND_SHAPES[hand.shape]
    along = forearm if hand.points is None else _direction(hand.points, side)
    to_viewer = _sum((0.0, 0.0, 1.0), _times(along, -along[2]))
    # A hand pointing straight at the viewer has no side that faces them: its palm is then taken from above.
    flat = _unit(to_viewer if math.hypot(*to_viewer) > 1e-3 else (0.0, 1.0, 0.0))
    thumb_side = _times(_cross(along, flat), -side)
    turn = math.radians(hand.palm)
    palm = _sum(_times(flat, math.cos(turn)), _times(thumb_side, -math.sin(turn)))
    thumb_side = _times(_cross(along, palm), -side)

    def ray(spread: float, bend: float) -> Vec3:
        s, b = math.radians(spread), math.radians(bend)
        straight = _sum(_times(along, math.cos(s)), _times(thumb_side, math.sin(s)))
        return _sum(_times(straight, math.cos(b)), _times(palm, math.sin(b)))

    def chain(root: tuple[float, float], bones: tuple[float, ...], rays: tuple[Vec3, ...]) -> list[Vec3]:
        chained = [_sum(wrist, _times(thumb_side, root[0]), _times(along, root[1]))]
        for bone, towards in zip(bones, rays, strict=True):
            chained.append(_sum(chained[-1], _times(towards, bone)))
        return chained

    spread, oppose, bend = shape.thumb
    thumb = (ray(spread, oppose), ray(spread - bend, oppose), ray(spread - 2 * bend, oppose))
    points = [wrist, *chain(anatomy.THUMB_ROOT, anatomy.THUMB_BONES, thumb)]
    for finger in range(4):
        first, second, third = shape.bends[finger]
        aside = shape.spread[finger]
        rays = (ray(aside, first), ray(aside, first + second), ray(aside, first + second + third))
        points += chain(anatomy.FINGER_ROOTS[finger], anatomy.FINGER_BONES[finger], rays)
    return tuple(points)


def _direction(bone: Bone, side: int) -> Vec3:
    swing, depth = math.radians(bone.swing), math.radians(bone.depth)
    return side * math.sin(swing) * math.cos(depth), -math.cos(swing) * math.cos(depth), math.sin(depth)


def _up(lean: float, bow: float) -> Vec3:
    a, b = math.radians(lean), math.radians(bow)
    return math.sin(a) * math.cos(b), math.cos(a) * math.cos(b), math.sin(b)


def _across(turn: float, tilt: float) -> Vec3:
    """Return the axis to the person's left, for a part turned to the viewer's right and its left side tilted up."""
    a, b = math.radians(turn), math.radians(tilt)
    return math.cos(a) * math.cos(b), math.sin(b), -math.sin(a) * math.cos(b)


def _turned(point: Vec3, head: Head) -> Vec3:
    nod, turn, tilt = math.radians(head.nod), math.radians(head.turn), math.radians(head.tilt)
    x, y, z = point
    y, z = y * math.cos(nod) - z * math.sin(nod), y * math.sin(nod) + z * math.cos(nod)
    x, z = x * math.cos(turn) + z * math.sin(turn), -x * math.sin(turn) + z * math.cos(turn)
    return x * math.cos(tilt) + y * math.sin(tilt), -x * math.sin(tilt) + y * math.cos(tilt), z


def _sum(*vectors: Vec3) -> Vec3:
    return sum(v[0] for v in vectors), sum(v[1] for v in vectors), sum(v[2] for v in vectors)


def _times(vector: Vec3, factor: float) -> Vec3:
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


def _cross(a: Vec3, b: Vec3) -> Vec3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(vector: Vec3) -> Vec3:
    return _times(vector, 1 / math.hypot(*vector))
