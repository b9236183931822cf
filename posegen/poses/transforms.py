"""Changing a whole pose without bending anybody: mirrored, filling its frame, or several side by side.

Every function returns a new pose whose bodies keep their proportions. A mirrored body is relabelled as well as turned,
because the right arm of a mirror image is a left arm; a model that is told otherwise crosses the limbs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from models.detectors.people import BODY_MIRROR
from posegen.poses import anatomy
from posegen.poses.errors import PoseRefused
from posegen.poses.framing import frame_pose
from posegen.poses.keypoints import KeyPoint, Person, Points, Pose
from posegen.poses.skeleton import L_ANKLE, L_KNEE, NECK, NOSE, R_ANKLE, R_KNEE

FRAME_MARGIN: Final = 0.06  # of the canvas, kept free around people who fill it
BETWEEN_PEOPLE: Final = 0.08  # of the canvas's height, between poses that are put side by side
_LEAST_COMPOSED: Final = 0.5  # width / height: one narrow figure still stands on a canvas and not on a strip

_FACE_MIRROR: Final = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65, 69, 68,
)  # fmt: skip
_CROWN: Final = anatomy.HEAD_ABOVE_NECK / anatomy.NOSE_TIP[1]
_SOLE: Final = 1 + anatomy.ANKLE_HEIGHT / anatomy.SHANK

_Move = Callable[[KeyPoint], KeyPoint]


def mirrored_pose(pose: Pose) -> Pose:
    """Return the mirror image. Twice gives the pose back, but for rounding."""
    return Pose(people=tuple(_mirrored(person) for person in pose.people), aspect=pose.aspect)


def fitted_pose(pose: Pose) -> Pose:
    """Return the people as large as the canvas holds with FRAME_MARGIN around heads and feet, and in its middle."""
    corners = [corner for person in pose.people for corner in _outline(person)]
    left, right = min(x for x, _ in corners), max(x for x, _ in corners)
    top, bottom = min(y for _, y in corners), max(y for _, y in corners)
    room = 1 - 2 * FRAME_MARGIN
    sides = [side for side in (right - left, bottom - top) if side > 1e-6]
    if not sides:
        raise PoseRefused("people", "are a single point, which cannot fill a frame")
    scale = room / max(sides)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2

    def move(point: KeyPoint) -> KeyPoint:
        return KeyPoint(0.5 + (point.x - middle_x) * scale, 0.5 + (point.y - middle_y) * scale, point.c)

    return Pose(people=tuple(_moved(person, move) for person in pose.people), aspect=pose.aspect)


def composed_pose(poses: Sequence[Pose], aspect: float | None = None) -> Pose:
    """Return the people of all poses side by side from the left, as large as each was in the height of its canvas.

    The canvas is as wide as they need, or of `aspect`; then they shrink only as far as needed. Raises PoseRefused for
    no pose, for more people than one picture holds, and for a row too long for any canvas.
    """
    if not poses:
        raise PoseRefused("poses", "is empty: there is nothing to put together")
    spans = []
    for pose in poses:
        across = [point.x * pose.aspect for point in pose.seen_points()]
        spans.append((min(across), max(across)))
    taken = sum(right - left for left, right in spans) + BETWEEN_PEOPLE * (len(spans) - 1)
    width = max(taken + 2 * BETWEEN_PEOPLE, _LEAST_COMPOSED)
    people: list[Person] = []
    at = (width - taken) / 2
    for pose, (left, right) in zip(poses, spans, strict=True):
        people += [_moved(person, _shift(pose.aspect, at - left, width)) for person in pose.people]
        at += right - left + BETWEEN_PEOPLE
    together = Pose(people=tuple(people), aspect=width)
    return together if aspect is None else frame_pose(together, aspect)


def _shift(aspect: float, by: float, width: float) -> _Move:
    return lambda point: KeyPoint((point.x * aspect + by) / width, point.y, point.c)


def _mirrored(person: Person) -> Person:
    def flipped(points: Points | None, order: Sequence[int] | None = None) -> Points | None:
        if points is None:
            return None
        chosen = points if order is None else tuple(points[index] for index in order)
        return tuple(None if p is None else KeyPoint(1 - p.x, p.y, p.c) for p in chosen)

    return Person(
        body=flipped(person.body, BODY_MIRROR) or (),
        hand_left=flipped(person.hand_right),
        hand_right=flipped(person.hand_left),
        face=flipped(person.face, _FACE_MIRROR),
    )


def _moved(person: Person, move: _Move) -> Person:
    def part(points: Points | None) -> Points | None:
        return None if points is None else tuple(None if p is None else move(p) for p in points)

    return Person(
        body=part(person.body) or (),
        hand_left=part(person.hand_left),
        hand_right=part(person.hand_right),
        face=part(person.face),
    )


def _outline(person: Person) -> Iterator[tuple[float, float]]:
    """Yield what has to be inside of the frame: all points, and the crown and soles that no point marks."""
    for point in person.seen_points():
        yield point.x, point.y
    for start, end, further in ((NECK, NOSE, _CROWN), (R_KNEE, R_ANKLE, _SOLE), (L_KNEE, L_ANKLE, _SOLE)):
        a, b = person.body[start], person.body[end]
        if a is not None and b is not None:
            yield a.x + (b.x - a.x) * further, a.y + (b.y - a.y) * further
