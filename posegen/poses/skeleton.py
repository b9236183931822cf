"""The skeleton every other module speaks: which point is which, what is joined to what, and in which colour.

The order is COCO-18 as OpenPose ControlNets were trained on it; "right" is the person's own right. BODY_25 and
COCO-17 are only read, never written, so they appear here as mappings onto COCO-18. The colours are part of the
model's input format, not a matter of taste: changing one makes the drawn maps unreadable to the ControlNet.
"""

from dataclasses import dataclass
from typing import Final

RGB = tuple[int, int, int]

BODY_POINTS: Final = 18
HAND_POINTS: Final = 21
FACE_POINTS: Final = 70
FACE_POINTS_WITHOUT_PUPILS: Final = 68

NOSE, NECK = 0, 1
R_SHOULDER, R_ELBOW, R_WRIST = 2, 3, 4
L_SHOULDER, L_ELBOW, L_WRIST = 5, 6, 7
R_HIP, R_KNEE, R_ANKLE = 8, 9, 10
L_HIP, L_KNEE, L_ANKLE = 11, 12, 13
R_EYE, L_EYE, R_EAR, L_EAR = 14, 15, 16, 17

BODY_NAMES: Final[tuple[str, ...]] = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limb:
    """One drawn connection of the body. `colour` is the full one; limbs are drawn at LIMB_SHADE of it."""

    start: int
    end: int
    colour: RGB


LIMB_SHADE: Final = 0.6

LIMBS: Final[tuple[Limb, ...]] = (
    Limb(NECK, R_SHOULDER, (255, 0, 0)),
    Limb(NECK, L_SHOULDER, (255, 85, 0)),
    Limb(R_SHOULDER, R_ELBOW, (255, 170, 0)),
    Limb(R_ELBOW, R_WRIST, (255, 255, 0)),
    Limb(L_SHOULDER, L_ELBOW, (170, 255, 0)),
    Limb(L_ELBOW, L_WRIST, (85, 255, 0)),
    Limb(NECK, R_HIP, (0, 255, 0)),
    Limb(R_HIP, R_KNEE, (0, 255, 85)),
    Limb(R_KNEE, R_ANKLE, (0, 255, 170)),
    Limb(NECK, L_HIP, (0, 255, 255)),
    Limb(L_HIP, L_KNEE, (0, 170, 255)),
    Limb(L_KNEE, L_ANKLE, (0, 85, 255)),
    Limb(NECK, NOSE, (0, 0, 255)),
    Limb(NOSE, R_EYE, (85, 0, 255)),
    Limb(R_EYE, R_EAR, (170, 0, 255)),
    Limb(NOSE, L_EYE, (255, 0, 255)),
    Limb(L_EYE, L_EAR, (255, 0, 170)),
)

JOINT_COLOURS: Final[tuple[RGB, ...]] = (*(limb.colour for limb in LIMBS), (255, 0, 85))

# Parent of each body point; the neck is the root. A point is placed from its parent in the authoring's kinematics.
PARENTS: Final[tuple[int | None, ...]] = (
    NECK, None,
    NECK, R_SHOULDER, R_ELBOW,
    NECK, L_SHOULDER, L_ELBOW,
    NECK, R_HIP, R_KNEE,
    NECK, L_HIP, L_KNEE,
    NOSE, NOSE, R_EYE, L_EYE,
)  # fmt: skip

# coco18[i] = other[mapping[i]]; None is computed (COCO-17 has no neck: the middle of the shoulders).
BODY_25_TO_COCO_18: Final[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
COCO_17_TO_COCO_18: Final[tuple[int | None, ...]] = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)

# Hand: 0 is the wrist, then four points each of thumb, index, middle, ring and little finger, from root to tip.
FINGERS: Final[tuple[str, ...]] = ("thumb", "index", "middle", "ring", "little")
HAND_LINES: Final[tuple[tuple[int, int], ...]] = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
HAND_JOINT_COLOUR: Final[RGB] = (0, 0, 255)

# Face, in the order of the 68-point landmark scheme, then the two pupils. The map draws points only; the preview
# follows these lines. A closed line returns to its first point.
FACE_COLOUR: Final[RGB] = (255, 255, 255)
FACE_JAW: Final = tuple(range(17))
FACE_RIGHT_BROW: Final = tuple(range(17, 22))
FACE_LEFT_BROW: Final = tuple(range(22, 27))
FACE_NOSE_RIDGE: Final = tuple(range(27, 31))
FACE_NOSE_BASE: Final = tuple(range(31, 36))
FACE_RIGHT_EYE: Final = (*range(36, 42), 36)
FACE_LEFT_EYE: Final = (*range(42, 48), 42)
FACE_OUTER_LIPS: Final = (*range(48, 60), 48)
FACE_INNER_LIPS: Final = (*range(60, 68), 60)
FACE_PUPILS: Final = (68, 69)
