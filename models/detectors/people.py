"""What a detector answers: people in pixels of the photo, in OpenPose's order of points. None is a point not seen.

The counts are checked here once, because every detector counts differently and a shifted list is a plausible pose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from PIL import Image

BODY_POINTS = 18
"""COCO-18: nose, neck, right arm, left arm, right leg, left leg, eyes, ears; right is the person's own."""
BODY_MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""What each body point is in a mirror: a right arm is a left one there."""
HAND_POINTS = 21
FACE_POINTS = 70
FACE_POINTS_WITHOUT_PUPILS = 68


class FoundPoint(NamedTuple):
    """A point that was seen: its place in the photo in pixels, and how sure it is, 0 < c <= 1."""

    x_px: float
    y_px: float
    c: float


FoundPoints = tuple[FoundPoint | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPerson:
    """One person of a photo. Hands have 21 points, faces 68 or 70; None for a part that was not seen at all."""

    body: FoundPoints
    hand_left: FoundPoints | None = None
    hand_right: FoundPoints | None = None
    face: FoundPoints | None = None

    def __post_init__(self) -> None:
        for part, counts in (
            (self.body, (BODY_POINTS,)),
            (self.hand_left, (HAND_POINTS,)),
            (self.hand_right, (HAND_POINTS,)),
            (self.face, (FACE_POINTS_WITHOUT_PUPILS, FACE_POINTS)),
        ):
            if part is not None and len(part) not in counts:
                raise ValueError(f"{len(part)} points, but a part like this has {counts[-1]}")


class PoseDetector(Protocol):
    """Finds people. Loaded once, then called from one thread at a time."""

    name: str

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        """Return the people of an RGB photo, the surest first; nobody is an empty list. Raises DetectorFailed."""
