"""A pose as values: people made of key-points on a canvas of known aspect ratio.

Coordinates are 0..1 of the canvas (x to the viewer's right, y down), so a pose has no size in pixels; what it does have
is `aspect`, the width of its canvas divided by the height. Without it nobody could draw a pose authored on a square
onto a 3:4 picture without stretching the body. A missing point is None, never (0, 0). Everything is valid once
built: the constructors refuse what the drawing could not show.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from posegen.poses.errors import PoseRefused
from posegen.poses.skeleton import BODY_POINTS, FACE_POINTS, HAND_POINTS

MAX_PEOPLE: Final = 8
# A joint just outside the frame still shapes the limb that leads there; one far outside says nothing.
LEAST_COORDINATE: Final = -0.5
MOST_COORDINATE: Final = 1.5
MOST_ASPECT: Final = 8.0
_DECIMALS: Final = 6  # a 250th of a pixel at 4096 px; makes JSON short and equality meaningful


@dataclass(frozen=True, slots=True)
class KeyPoint:
    """One seen joint: x, y in 0..1 of the canvas (a little outside is allowed), c the confidence, 0 < c <= 1."""

    x: float
    y: float
    c: float = 1.0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("x", self.x, LEAST_COORDINATE, MOST_COORDINATE),
            ("y", self.y, LEAST_COORDINATE, MOST_COORDINATE),
            ("c", self.c, 0.0, 1.0),
        ):
            if not (math.isfinite(value) and least <= value <= most):
                raise PoseRefused(name, f"is {value}, but must be a number from {least} to {most}")
        if self.c <= 0:
            raise PoseRefused("c", "is 0: a point that was not seen is left out instead")
        object.__setattr__(self, "x", round(float(self.x), _DECIMALS) + 0.0)  # + 0.0 turns -0.0 into 0.0
        object.__setattr__(self, "y", round(float(self.y), _DECIMALS) + 0.0)
        object.__setattr__(self, "c", max(round(float(self.c), _DECIMALS), 10.0**-_DECIMALS))


Points = tuple[KeyPoint | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One figure: 18 body points (COCO-18), and 21 points per hand and 70 of the face where known.

    A part without a single seen point is stored as None. Raises PoseRefused for wrong counts or an empty person.
    """

    body: Points
    hand_left: Points | None = None
    hand_right: Points | None = None
    face: Points | None = None

    def __post_init__(self) -> None:
        expected = (
            ("body", BODY_POINTS),
            ("hand_left", HAND_POINTS),
            ("hand_right", HAND_POINTS),
            ("face", FACE_POINTS),
        )
        for name, count in expected:
            points: Points | None = getattr(self, name)
            if points is None and name != "body":
                continue
            if points is None or len(points) != count:
                raise PoseRefused(name, f"has {len(points or ())} points, but must have {count}")
            object.__setattr__(self, name, tuple(points))
            if name != "body" and not any(points):
                object.__setattr__(self, name, None)
        if not any(True for _ in self.seen_points()):
            raise PoseRefused("body", "has no point that was seen")

    def parts(self) -> tuple[Points, ...]:
        """Return the parts that are there: body, left hand, right hand, face."""
        return tuple(part for part in (self.body, self.hand_left, self.hand_right, self.face) if part is not None)

    def seen_points(self) -> Iterator[KeyPoint]:
        """Yield every point that is not missing, of all parts."""
        for part in self.parts():
            for point in part:
                if point is not None:
                    yield point


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """One to eight people on a canvas. `aspect` is the canvas's width / height; the default is a square."""

    people: tuple[Person, ...]
    aspect: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "people", tuple(self.people))
        if not 1 <= len(self.people) <= MAX_PEOPLE:
            raise PoseRefused("people", f"holds {len(self.people)} people, but must hold 1 to {MAX_PEOPLE}")
        if not (math.isfinite(self.aspect) and 1 / MOST_ASPECT <= self.aspect <= MOST_ASPECT):
            raise PoseRefused("aspect", f"is {self.aspect:g}, but must be from {1 / MOST_ASPECT:g} to {MOST_ASPECT:g}")
        # A ratio of small whole numbers, so that it can be written as a canvas size and read back unchanged.
        object.__setattr__(self, "aspect", float(Fraction(self.aspect).limit_denominator(4096)))

    def seen_points(self) -> Iterator[KeyPoint]:
        """Yield every point of every person that is not missing."""
        for person in self.people:
            yield from person.seen_points()
