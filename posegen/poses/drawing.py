"""The control map: a pose drawn exactly as OpenPose ControlNets were trained to read it.

Our own renderer, from the published table (skeleton.py), with Pillow alone: controlnet-aux's is for non-commercial
use, needs matplotlib for hands and fails on a hand with missing points. Nothing is anti-aliased: limbs are flat
polygons in 0.6 of their colour and joints flat discs in the full one, so that every pixel has a colour of the table.
Sizes are those of a 512 px map, scaled with the shorter side.
"""

import colorsys
import math
from typing import Final

from PIL import Image, ImageDraw

from posegen.poses.errors import MapSizeRefused
from posegen.poses.framing import frame_pose
from posegen.poses.keypoints import KeyPoint, Person, Points, Pose
from posegen.poses.skeleton import (
    FACE_COLOUR,
    HAND_JOINT_COLOUR,
    HAND_LINES,
    JOINT_COLOURS,
    LIMB_SHADE,
    LIMBS,
    RGB,
)

LEAST_SIDE_PX: Final = 16
MOST_SIDE_PX: Final = 8192

_REFERENCE_SIDE_PX: Final = 512
_STICK: Final = 4.0  # half the thickness of a limb, as an ellipse's half-axis
_JOINT_RADIUS: Final = 4.0
_HAND_LINE: Final = 2.0
_HAND_JOINT_RADIUS: Final = 4.0
_FACE_RADIUS: Final = 3.0
_ELLIPSE_STEPS: Final = 72


def draw_pose(pose: Pose, width_px: int, height_px: int) -> Image.Image:
    """Draw the control map of every person on black, RGB, width_px x height_px.

    The pose is first framed to the picture's aspect ratio (frame_pose), so nobody is stretched. Missing points and the
    limbs that need them are left out. The same pose and size give the same bytes. Raises MapSizeRefused.
    """
    check_size(width_px, height_px)
    canvas = Image.new("RGB", (width_px, height_px))
    pen = _Pen(ImageDraw.Draw(canvas), width_px, height_px)
    for person in frame_pose(pose, width_px / height_px).people:
        pen.body(person)
        for hand in (person.hand_left, person.hand_right):
            if hand is not None:
                pen.hand(hand)
        if person.face is not None:
            pen.discs(person.face, (FACE_COLOUR,) * len(person.face), _FACE_RADIUS)
    return canvas


def check_size(width_px: int, height_px: int) -> None:
    """Raise MapSizeRefused for a picture no pose is drawn at."""
    if not (LEAST_SIDE_PX <= width_px <= MOST_SIDE_PX and LEAST_SIDE_PX <= height_px <= MOST_SIDE_PX):
        raise MapSizeRefused(width_px, height_px, LEAST_SIDE_PX, MOST_SIDE_PX)


class _Pen:
    """Draws parts of one person; knows the scale between 0..1 and pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw, width_px: int, height_px: int) -> None:
        self._draw = draw
        self._width_px = width_px
        self._height_px = height_px
        self._scale = min(width_px, height_px) / _REFERENCE_SIDE_PX

    def body(self, person: Person) -> None:
        for limb in LIMBS:
            start, end = person.body[limb.start], person.body[limb.end]
            if start is not None and end is not None:
                self._stick(start, end, _shaded(limb.colour))
        self.discs(person.body, JOINT_COLOURS, _JOINT_RADIUS)

    def hand(self, points: Points) -> None:
        for index, (a, b) in enumerate(HAND_LINES):
            start, end = points[a], points[b]
            if start is not None and end is not None:
                width = max(1, round(_HAND_LINE * self._scale))
                self._draw.line((self._at(start), self._at(end)), fill=hand_line_colour(index), width=width)
        self.discs(points, (HAND_JOINT_COLOUR,) * len(points), _HAND_JOINT_RADIUS)

    def discs(self, points: Points, colours: tuple[RGB, ...], radius: float) -> None:
        r = max(radius * self._scale, 0.5)
        for point, colour in zip(points, colours, strict=True):
            if point is not None:
                x, y = self._at(point)
                self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def _stick(self, start: KeyPoint, end: KeyPoint, colour: RGB) -> None:
        (x0, y0), (x1, y1) = self._at(start), self._at(end)
        half, thick = math.hypot(x1 - x0, y1 - y0) / 2, max(_STICK * self._scale, 0.5)
        angle = math.atan2(y1 - y0, x1 - x0)
        middle_x, middle_y, cos, sin = (x0 + x1) / 2, (y0 + y1) / 2, math.cos(angle), math.sin(angle)
        outline = []
        for step in range(_ELLIPSE_STEPS):
            turn = 2 * math.pi * step / _ELLIPSE_STEPS
            along, across = half * math.cos(turn), thick * math.sin(turn)
            outline.append((middle_x + along * cos - across * sin, middle_y + along * sin + across * cos))
        self._draw.polygon(outline, fill=colour)

    def _at(self, point: KeyPoint) -> tuple[float, float]:
        """Return the point in pixels, as detectors divide them: pixel column / width."""
        return point.x * self._width_px, point.y * self._height_px


def hand_line_colour(index: int) -> RGB:
    """Return the colour of the hand's line number `index`: hue index / 20 at full saturation and value."""
    r, g, b = colorsys.hsv_to_rgb(index / len(HAND_LINES), 1.0, 1.0)
    return round(r * 255), round(g * 255), round(b * 255)


def _shaded(colour: RGB) -> RGB:
    r, g, b = (int(channel * LIMB_SHADE) for channel in colour)
    return r, g, b
