"""Turning figures, and lending limbs from one figure to another, exactly: every angle goes through its direction.

An author's angles are absolute, as seen in the picture. A limb that is lent is therefore first turned back to how it
stands on a body that faces the viewer, and then with the body it goes to; to the other side of the body it goes as
its mirror image, which the angles of figure.py already are.
"""

import math
from dataclasses import replace

from posegen.poses.anatomy import Vec3
from posegen.poses.figure import Arm, Bone, Figure, Hand, Leg


def turned_bone(bone: Bone, side: int, degrees: float) -> Bone:
    """Return the direction after a turn of the body to the viewer's right. side: -1 the right limbs, 1 the left."""
    x, y, z = _turned(_direction(bone, side), degrees)
    return Bone(swing=math.degrees(math.atan2(side * x, -y)), depth=math.degrees(math.asin(max(-1.0, min(1.0, z)))))


def turned_arm(arm: Arm, side: int, degrees: float) -> Arm:
    """Return the arm of a body that turned; the palm stays where it was on the body."""
    return Arm(
        upper=turned_bone(arm.upper, side, degrees),
        lower=turned_bone(arm.lower, side, degrees),
        hand=None if arm.hand is None else _turned_hand(arm.hand, arm.lower, side, degrees),
    )


def turned_leg(leg: Leg, side: int, degrees: float) -> Leg:
    """Return the leg of a body that turned."""
    return Leg(upper=turned_bone(leg.upper, side, degrees), lower=turned_bone(leg.lower, side, degrees))


def turned_figure(figure: Figure, degrees: float) -> Figure:
    """Return the whole figure turned to the viewer's right about the upright."""
    torso, head = figure.torso, figure.head
    lean, bow = math.radians(torso.lean), math.radians(torso.bow)
    up = math.sin(lean) * math.cos(bow), math.cos(lean) * math.cos(bow), math.sin(bow)
    x, y, z = _turned(up, degrees)
    return replace(
        figure,
        torso=replace(
            torso,
            lean=math.degrees(math.atan2(x, y)),
            bow=math.degrees(math.asin(max(-1.0, min(1.0, z)))),
            hips_turn=within_half_turn(torso.hips_turn + degrees),
            chest_turn=within_half_turn(torso.chest_turn + degrees),
        ),
        head=replace(head, turn=within_half_turn(head.turn + degrees)),
        right_arm=turned_arm(figure.right_arm, -1, degrees),
        left_arm=turned_arm(figure.left_arm, 1, degrees),
        right_leg=turned_leg(figure.right_leg, -1, degrees),
        left_leg=turned_leg(figure.left_leg, 1, degrees),
    )


def mirrored_figure(figure: Figure) -> Figure:
    """Return the mirror image: limbs change sides and keep their angles, the rest changes its sign."""
    torso, head, placement = figure.torso, figure.head, figure.placement
    return replace(
        figure,
        placement=replace(placement, x=1 - placement.x, roll=-placement.roll),
        torso=replace(
            torso,
            lean=-torso.lean,
            hips_turn=-torso.hips_turn,
            hips_tilt=-torso.hips_tilt,
            chest_turn=-torso.chest_turn,
            chest_tilt=-torso.chest_tilt,
        ),
        head=replace(head, turn=-head.turn, tilt=-head.tilt),
        right_arm=figure.left_arm,
        left_arm=figure.right_arm,
        right_leg=figure.left_leg,
        left_leg=figure.right_leg,
    )


def within_half_turn(degrees: float) -> float:
    """Return the same turn from -180 to 180."""
    return (degrees + 180) % 360 - 180


def _turned_hand(hand: Hand, forearm: Bone, side: int, degrees: float) -> Hand:
    points = forearm if hand.points is None else hand.points
    # palm is counted from the viewer's side of the hand's own axis, so a turn counts as far as that axis is upright.
    palm = hand.palm + side * degrees * _direction(points, side)[1]
    return replace(hand, palm=palm, points=None if hand.points is None else turned_bone(hand.points, side, degrees))


def _direction(bone: Bone, side: int) -> Vec3:
    swing, depth = math.radians(bone.swing), math.radians(bone.depth)
    return side * math.sin(swing) * math.cos(depth), -math.cos(swing) * math.cos(depth), math.sin(depth)


def _turned(point: Vec3, degrees: float) -> Vec3:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return point[0] * cos + point[2] * sin, point[1], point[2] * cos - point[0] * sin
