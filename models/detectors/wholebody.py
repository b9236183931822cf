"""COCO-WholeBody's 133 points as OpenPose's body, hands and face.

Its order: 17 of the body (COCO-17), 6 of the feet, 68 of the face, 21 of the left hand, 21 of the right one. The neck
is not among them: it is put between the shoulders when both are seen, as sure as the less sure one.
"""

from collections.abc import Sequence

from models.detectors.people import FoundPerson, FoundPoint, FoundPoints

WHOLE_BODY_POINTS = 133
FACE = slice(23, 91)
HAND_LEFT = slice(91, 112)
HAND_RIGHT = slice(112, 133)
_L_SHOULDER, _R_SHOULDER = 5, 6
_NECK = None
_COCO_18 = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""coco18[i] = whole_body[_COCO_18[i]]: COCO-17 names the left of each pair first, OpenPose the right."""


def person_of(points: Sequence[FoundPoint | None]) -> FoundPerson | None:
    """Return the person, or None when no point of the body was seen. points: 133, in COCO-WholeBody's order."""
    if len(points) != WHOLE_BODY_POINTS:
        raise ValueError(f"{len(points)} points, but COCO-WholeBody has {WHOLE_BODY_POINTS}")
    body = tuple(_neck(points) if index is _NECK else points[index] for index in _COCO_18)
    if not any(body):
        return None
    return FoundPerson(
        body=body,
        hand_left=_seen(points[HAND_LEFT]),
        hand_right=_seen(points[HAND_RIGHT]),
        face=_seen(points[FACE]),
    )


def _neck(points: Sequence[FoundPoint | None]) -> FoundPoint | None:
    left, right = points[_L_SHOULDER], points[_R_SHOULDER]
    if left is None or right is None:
        return None
    return FoundPoint((left.x_px + right.x_px) / 2, (left.y_px + right.y_px) / 2, min(left.c, right.c))


def _seen(part: Sequence[FoundPoint | None]) -> FoundPoints | None:
    return tuple(part) if any(part) else None
