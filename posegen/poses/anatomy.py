"""The canonical figure: how long its bones are and where the points of its head and hands sit.

All lengths are shares of the standing height, after Drillis & Contini's segment table as reprinted in Winter,
"Biomechanics and Motor Control of Human Movement"; widths are those between the joints that pose detectors mark,
which are narrower than the body. Coordinates: x to the person's left (the viewer's right when they face the
viewer), y up, z forward.
"""

import math
from dataclasses import dataclass
from typing import Final

Vec3 = tuple[float, float, float]

SPINE: Final = 0.288  # middle of the hips to the middle of the shoulders
HALF_SHOULDERS: Final = 0.105
HALF_HIPS: Final = 0.060
UPPER_ARM: Final = 0.186
FOREARM: Final = 0.146
THIGH: Final = 0.245
SHANK: Final = 0.246
ANKLE_HEIGHT: Final = 0.039
SEAT_HEIGHT: Final = 0.060  # hip joint above the floor when sitting on it
HEAD_ABOVE_NECK: Final = 0.182  # crown, above the middle of the shoulders
SHOULDER_RISE: Final = 0.035  # how far a shoulder comes up when its arm points straight up

# The head, measured from the middle of the shoulders of an upright figure; it turns about the pivot.
HEAD_PIVOT: Final[Vec3] = (0.0, 0.060, 0.0)
NOSE_TIP: Final[Vec3] = (0.0, 0.092, 0.066)
LEFT_EYE: Final[Vec3] = (0.0185, 0.116, 0.046)
LEFT_EAR: Final[Vec3] = (0.041, 0.108, -0.004)


def face_points(smile: float = 0.0) -> tuple[Vec3, ...]:
    """Return the 70 points of a face in the frame of the head: neutral, or smiling with closed lips up to smile = 1."""
    jaw = [_jaw(math.radians(90 * (i - 8) / 8)) for i in range(17)]
    brow = [
        (0.008, 0.128, 0.054),
        (0.014, 0.1315, 0.053),
        (0.020, 0.1325, 0.050),
        (0.026, 0.131, 0.046),
        (0.032, 0.127, 0.039),
    ]
    left_brow = list(brow)
    right_brow = [(-x, y, z) for x, y, z in reversed(brow)]
    ridge = [(0.0, 0.117 - 0.0083 * i, 0.052 + 0.0047 * i) for i in range(4)]
    base = [
        (-0.010, 0.084, 0.050),
        (-0.005, 0.0825, 0.055),
        (0.0, 0.0815, 0.058),
        (0.005, 0.0825, 0.055),
        (0.010, 0.084, 0.050),
    ]
    eye_x, eye_y, eye_z = LEFT_EYE
    ring = ((-0.0075, 0.0), (-0.003, 0.0033), (0.003, 0.0033), (0.0075, 0.0), (0.003, -0.003), (-0.003, -0.003))
    right_eye = [(-eye_x + dx, eye_y + dy, eye_z) for dx, dy in ring]
    left_eye = [(eye_x + dx, eye_y + dy, eye_z) for dx, dy in ring]
    upper = (
        (-0.0155, 0.0),
        (-0.010, 0.0035),
        (-0.004, 0.005),
        (0.0, 0.0042),
        (0.004, 0.005),
        (0.010, 0.0035),
        (0.0155, 0.0),
    )
    lower = ((0.010, -0.0055), (0.005, -0.0075), (0.0, -0.008), (-0.005, -0.0075), (-0.010, -0.0055))
    inner = (
        (-0.012, 0.0), (-0.005, 0.001), (0.0, 0.0008), (0.005, 0.001),
        (0.012, 0.0), (0.005, -0.001), (0.0, -0.0014), (-0.005, -0.001),
    )  # fmt: skip
    wider, lift = 1 + 0.28 * smile, 34.0 * smile  # the corners go out, and up with the square of their distance
    mouth = [
        (dx * wider, 0.068 + dy + lift * dx * dx - 0.002 * smile, 0.054 - abs(dx * wider) * 0.6)
        for dx, dy in (*upper, *lower, *inner)
    ]
    pupils = [(-eye_x, eye_y, eye_z), (eye_x, eye_y, eye_z)]
    return (*jaw, *right_brow, *left_brow, *ridge, *base, *right_eye, *left_eye, *mouth, *pupils)


def _jaw(angle: float) -> Vec3:
    side, front = math.sin(angle), math.cos(angle)
    return 0.040 * side, 0.114 - 0.064 * front**0.85, -0.006 + 0.052 * front


@dataclass(frozen=True, slots=True)
class HandShape:
    """How the fingers are held, in degrees: how far each is spread to the thumb's side, and its three bends.

    `thumb` is spread, turn towards the palm, and bend of its last two joints.
    """

    spread: tuple[float, float, float, float]
    bends: tuple[tuple[float, float, float], ...]
    thumb: tuple[float, float, float]


_FIST: Final = (82.0, 95.0, 55.0)
HAND_SHAPES: Final[dict[str, HandShape]] = {
    "open": HandShape((9, 1, -7, -16), ((4, 5, 3), (3, 5, 3), (4, 6, 3), (6, 6, 3)), (52, 8, 4)),
    "flat": HandShape((3, 0, -2, -5), ((6, 6, 4), (6, 6, 4), (6, 6, 4), (6, 6, 4)), (32, 10, 6)),
    "relaxed": HandShape((4, 1, -3, -7), ((14, 22, 12), (20, 28, 16), (25, 32, 18), (28, 34, 18)), (30, 25, 14)),
    "fist": HandShape((2, 0, -2, -4), (_FIST, _FIST, _FIST, _FIST), (18, 45, 45)),
    "point": HandShape((2, 0, -2, -4), ((2, 4, 2), _FIST, _FIST, _FIST), (22, 45, 40)),
    "victory": HandShape((13, -11, -2, -4), ((2, 3, 2), (2, 3, 2), _FIST, _FIST), (10, 60, 40)),
    "thumb_up": HandShape((2, 0, -2, -4), (_FIST, _FIST, _FIST, _FIST), (84, 6, -4)),
    "ok": HandShape((2, 2, -6, -14), ((50, 62, 30), (14, 12, 6), (2, 6, 4), (-6, 4, 2)), (14, 62, 0)),
    "call": HandShape((2, 0, -2, -22), (_FIST, _FIST, _FIST, (4, 4, 2)), (78, 6, -2)),
    "curved": HandShape((4, 1, -3, -7), ((30, 34, 26), (30, 34, 26), (30, 34, 26), (30, 34, 26)), (40, 12, 2)),
    "heart": HandShape((2, 0, -2, -4), ((8, 48, 52), (10, 50, 52), (12, 52, 52), (14, 54, 52)), (164, 52, 0)),
    "hold": HandShape((6, 1, -4, -9), ((38, 34, 18), (40, 36, 20), (42, 38, 20), (44, 38, 20)), (38, 48, 10)),
}

# Roots of index to little finger in the hand's frame (to the thumb's side, along the hand), and their bone lengths.
FINGER_ROOTS: Final = ((0.0135, 0.0465), (0.0035, 0.0480), (-0.0065, 0.0455), (-0.0155, 0.0415))
FINGER_BONES: Final = ((0.024, 0.015, 0.011), (0.027, 0.017, 0.012), (0.025, 0.016, 0.012), (0.019, 0.012, 0.010))
THUMB_ROOT: Final = (0.012, 0.010)
THUMB_BONES: Final = (0.023, 0.018, 0.014)
