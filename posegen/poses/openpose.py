"""OpenPose JSON in and out.

Real files differ: 18, 25 or 17 body points, pixels or 0..1, any confidence, missing points as zeros or as -1, absent
parts as null or no key, canvas sizes left out. All of these are read, and whatever had to be assumed is said in words
a person can check. What is written is one dialect only: COCO-18, 0..1, flat lists of x, y, c, with a canvas size
that carries the aspect ratio, so that writing and reading again gives the same pose.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from posegen.poses.errors import PoseRefused
from posegen.poses.keypoints import (
    LEAST_COORDINATE,
    MAX_PEOPLE,
    MOST_ASPECT,
    MOST_COORDINATE,
    KeyPoint,
    Person,
    Points,
    Pose,
)
from posegen.poses.skeleton import (
    BODY_25_TO_COCO_18,
    BODY_POINTS,
    COCO_17_TO_COCO_18,
    FACE_POINTS,
    FACE_POINTS_WITHOUT_PUPILS,
    HAND_POINTS,
    L_SHOULDER,
    NECK,
    R_SHOULDER,
)

# No pixel pose fits in 2x2 pixels, so coordinates that all lie within this are 0..1 (a little outside is common).
_MOST_NORMALISED: Final = 2.0
_LEAST_ASSUMED_SIDE: Final = 512
_LEAST_WRITTEN_SIDE: Final = 512
_PARTS: Final = (
    ("pose_keypoints_2d", (BODY_POINTS, 25, 17)),
    ("hand_left_keypoints_2d", (HAND_POINTS,)),
    ("hand_right_keypoints_2d", (HAND_POINTS,)),
    ("face_keypoints_2d", (FACE_POINTS, FACE_POINTS_WITHOUT_PUPILS)),
)

_Raw = tuple[float, float, float] | None
_RawPerson = dict[str, list[_Raw] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPose:
    """What was read, and in sentences what had to be assumed to read it."""

    pose: Pose
    assumptions: tuple[str, ...] = ()


def pose_from_openpose(payload: object) -> ImportedPose:
    """Read OpenPose JSON (already parsed) of any dialect listed in this module's docstring.

    Raises PoseRefused, naming the field, for anything that is no pose: wrong types or counts, numbers that are not
    finite, nobody in it, more than eight people.
    """
    reading = _Reading()
    if isinstance(payload, list) and len(payload) == 1:
        payload = payload[0]
        reading.assume("The file is a list with one picture; that picture was read.")
    if not isinstance(payload, Mapping):
        raise PoseRefused("the document", 'must be an object such as {"people": [...]}')
    people = payload.get("people")
    if not isinstance(people, list) or not people:
        raise PoseRefused("people", "must be a list with at least one person")
    if len(people) > MAX_PEOPLE:
        raise PoseRefused("people", f"holds {len(people)} people, but at most {MAX_PEOPLE} can be drawn")
    raw = [reading.person(person, f"people[{index}]") for index, person in enumerate(people)]
    raw = reading.without_confidence_if_all_zero(raw)
    raw = [person for person in raw if any(point for part in person.values() for point in part or ())]
    if not raw:
        raise PoseRefused("people", "has no point that was seen in any of its people")
    if len(raw) < len(people):
        reading.assume(f"{len(people) - len(raw)} of {len(people)} people had no point at all and were left out.")
    width, height = reading.canvas(payload, raw)
    scaled = reading.scaled(raw, width, height)
    return ImportedPose(
        pose=Pose(people=tuple(scaled), aspect=width / height), assumptions=tuple(dict.fromkeys(reading.assumptions))
    )


def pose_to_openpose(pose: Pose) -> dict[str, Any]:
    """Write the pose as OpenPose JSON: 0..1, COCO-18, missing points as 0, 0, 0, absent parts as null.

    `canvas_width` and `canvas_height` carry the aspect ratio. The same pose always gives the same document, and
    pose_from_openpose reads it back to an equal pose without assumptions.
    """
    ratio = Fraction(pose.aspect).limit_denominator(4096)
    times = math.ceil(_LEAST_WRITTEN_SIDE / min(ratio.numerator, ratio.denominator))
    return {
        "people": [
            {
                "pose_keypoints_2d": _flat(person.body),
                "hand_left_keypoints_2d": _flat(person.hand_left),
                "hand_right_keypoints_2d": _flat(person.hand_right),
                "face_keypoints_2d": _flat(person.face),
            }
            for person in pose.people
        ],
        "canvas_width": ratio.numerator * times,
        "canvas_height": ratio.denominator * times,
    }


def _flat(points: Points | None) -> list[float] | None:
    if points is None:
        return None
    return [value for p in points for value in ((0.0, 0.0, 0.0) if p is None else (p.x, p.y, p.c))]


@dataclass(slots=True)
class _Reading:
    """One import under way: collects what was assumed."""

    assumptions: list[str] = field(default_factory=list)
    zero_confidence_points: int = 0

    def assume(self, sentence: str) -> None:
        self.assumptions.append(sentence)

    def person(self, person: object, where: str) -> _RawPerson:
        if not isinstance(person, Mapping):
            raise PoseRefused(where, "must be an object with pose_keypoints_2d")
        if person.get("pose_keypoints_2d") is None:
            raise PoseRefused(f"{where}.pose_keypoints_2d", "is missing: a person needs body key-points")
        parts: _RawPerson = {}
        for key, counts in _PARTS:
            value = person.get(key)
            parts[key] = None if value is None or value == [] else self._points(value, counts, f"{where}.{key}")
        body = parts["pose_keypoints_2d"]
        parts["pose_keypoints_2d"] = None if body is None else self._as_coco_18(body)
        face = parts["face_keypoints_2d"]
        if face is not None:
            parts["face_keypoints_2d"] = face + [None] * (FACE_POINTS - len(face))
        return parts

    def _points(self, value: object, counts: Sequence[int], where: str) -> list[_Raw]:
        numbers = _flat_numbers(value, where)
        for count in counts:
            if len(numbers) == 3 * count:
                return [self._point(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, len(numbers), 3)]
            if len(numbers) == 2 * count:
                self.assume("Points came as x, y without a confidence; every point was taken as seen.")
                return [self._point(numbers[i], numbers[i + 1], None) for i in range(0, len(numbers), 2)]
        expected = " or ".join(str(count) for count in counts)
        raise PoseRefused(where, f"has {len(numbers)} numbers, but must have x, y, c for each of {expected} points")

    def _point(self, x: float | None, y: float | None, c: float | None) -> _Raw:
        if x is None or y is None or (x == -1 and y == -1):
            return None
        if c is None:
            return None if x == 0 and y == 0 else (x, y, 1.0)
        if c > 1:
            self.assume("Some confidences were above 1 and were taken as 1.")
        if c <= 0 and (x == 0 and y == 0):
            return None
        return (x, y, min(max(c, 0.0), 1.0))

    def _as_coco_18(self, points: list[_Raw]) -> list[_Raw]:
        if len(points) == 25:
            self.assume("The body has 25 points (BODY_25); the middle hip and the feet were left out.")
            return [points[index] for index in BODY_25_TO_COCO_18]
        if len(points) != 17:
            return points
        self.assume("The body has 17 points (COCO-17); the neck was put between the shoulders.")
        body = [None if index is None else points[index] for index in COCO_17_TO_COCO_18]
        right, left = body[R_SHOULDER], body[L_SHOULDER]
        if right is not None and left is not None:
            body[NECK] = ((right[0] + left[0]) / 2, (right[1] + left[1]) / 2, min(right[2], left[2]))
        return body

    def without_confidence_if_all_zero(self, people: list[_RawPerson]) -> list[_RawPerson]:
        """Take points of confidence 0 as missing, unless the whole file has no other: then it carries none at all."""
        unsure = [p for p in _all_points(people) if p[2] == 0]
        if not unsure:
            return people
        none_sure = len(unsure) == sum(1 for _ in _all_points(people))
        if none_sure:
            self.assume("Every confidence was 0, so it was ignored and every placed point was taken as seen.")
        else:
            self.assume(f"{len(unsure)} points had a place but confidence 0 and were taken as missing.")

        def settle(point: _Raw) -> _Raw:
            if point is None or point[2] > 0:
                return point
            return (point[0], point[1], 1.0) if none_sure else None

        return [{k: None if v is None else [settle(p) for p in v] for k, v in person.items()} for person in people]

    def canvas(self, payload: Mapping[str, Any], people: list[_RawPerson]) -> tuple[float, float]:
        width = _canvas_side(payload.get("canvas_width"), "canvas_width")
        height = _canvas_side(payload.get("canvas_height"), "canvas_height")
        if width is not None and height is not None:
            if not 1 / MOST_ASPECT <= width / height <= MOST_ASPECT:
                most = f"one side is at most {MOST_ASPECT:g} times the other"
                raise PoseRefused("canvas_width", f"and canvas_height are {width:g}x{height:g}, but {most}")
            return width, height
        reach = max(max(abs(x), abs(y)) for x, y, _ in _all_points(people))
        if reach <= _MOST_NORMALISED:
            self.assume("The canvas size is missing; key-points in 0..1 were taken to lie on a square canvas.")
            return 1.0, 1.0
        known = width or height or 0.0
        side = max(_LEAST_ASSUMED_SIDE, known, 64 * math.ceil(reach / 64))
        self.assume(f"The canvas size is missing; a canvas of {side:g}x{side:g} pixels was assumed.")
        return float(side), float(side)

    def scaled(self, people: list[_RawPerson], width: float, height: float) -> Iterable[Person]:
        normalised = all(max(abs(x), abs(y)) <= _MOST_NORMALISED for x, y, _ in _all_points(people))
        across, down = (1.0, 1.0) if normalised else (width, height)
        far = 0

        def key_point(point: _Raw) -> KeyPoint | None:
            nonlocal far
            if point is None:
                return None
            x, y = point[0] / across, point[1] / down
            if not (LEAST_COORDINATE <= x <= MOST_COORDINATE and LEAST_COORDINATE <= y <= MOST_COORDINATE):
                far += 1
                return None
            return KeyPoint(x, y, point[2])

        def part(points: list[_Raw] | None) -> Points | None:
            return None if points is None else tuple(key_point(p) for p in points)

        found = []
        for index, person in enumerate(people):
            body = part(person["pose_keypoints_2d"]) or (None,) * BODY_POINTS
            hands = part(person["hand_left_keypoints_2d"]), part(person["hand_right_keypoints_2d"])
            face = part(person["face_keypoints_2d"])
            if not any(any(points) for points in (body, *hands, face) if points):
                raise PoseRefused(f"people[{index}]", f"lies outside of its canvas of {width:g}x{height:g}")
            found.append(Person(body=body, hand_left=hands[0], hand_right=hands[1], face=face))
        if far:
            self.assume(f"{far} points lay far outside of the canvas and were taken as missing.")
        return found


def _all_points(people: list[_RawPerson]) -> Iterable[tuple[float, float, float]]:
    return (point for person in people for part in person.values() for point in part or () if point is not None)


def _canvas_side(value: object, name: str) -> float | None:
    if value is None or value == 0:
        return None
    side = _number(value, name)
    if side is None or side <= 0:
        raise PoseRefused(name, f"is {value}, but must be a positive number of pixels")
    return side


def _flat_numbers(value: object, where: str) -> list[float | None]:
    if not isinstance(value, list | tuple):
        raise PoseRefused(where, "must be a list of numbers")
    if len(value) > 3 * FACE_POINTS:
        raise PoseRefused(where, f"has {len(value)} entries, more than any known part of a body")
    nested = [entry if isinstance(entry, list | tuple) else (entry,) for entry in value]
    if len(value) > 0 and any(isinstance(entry, list | tuple) and len(entry) > 3 for entry in value):
        raise PoseRefused(where, "has an entry of more than three numbers")
    flat = [number for entry in nested for number in entry]
    return [_number(number, f"{where}[{index}]") for index, number in enumerate(flat)]


def _number(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PoseRefused(where, "must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PoseRefused(where, "must be a finite number")
    return number
