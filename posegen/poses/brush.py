"""The brush of the previews: rounded, tapered shapes with a thin light edge that tells a part from the next."""

import math
from typing import Final

from PIL import ImageDraw

from posegen.poses.skeleton import RGB

EDGE: Final[RGB] = (240, 238, 233)

XY = tuple[float, float]


class Brush:
    """Draws rounded shapes with a thin edge; lengths are shares of the figure's standing height."""

    def __init__(self, draw: ImageDraw.ImageDraw, unit: float) -> None:
        self._draw = draw
        self._unit = unit

    def tapered(self, start: XY, end: XY, radii: tuple[float, float], fill: RGB, *, edge: float = 0.006) -> None:
        """Draw a limb that goes from one radius to another."""
        for extra, colour in ((edge, EDGE), (0.0, fill)):
            if extra or colour is fill:
                self._capsule(start, end, ((radii[0] + extra) * self._unit, (radii[1] + extra) * self._unit), colour)

    def disc(self, at: XY, radius: float, fill: RGB, *, edge: float = 0.006) -> None:
        """Draw a round part."""
        self.tapered(at, at, (radius, radius), fill, edge=edge)

    def area(self, outline: list[XY], fill: RGB) -> None:
        """Fill a polygon."""
        self._draw.polygon(outline, fill=fill)

    def line(self, points: list[XY], width: float, fill: RGB) -> None:
        """Draw a thin line through points."""
        self._draw.line(points, fill=fill, width=max(1, round(width * self._unit)), joint="curve")

    def _capsule(self, start: XY, end: XY, radii: tuple[float, float], fill: RGB) -> None:
        (x0, y0), (x1, y1) = start, end
        angle = math.atan2(y1 - y0, x1 - x0)
        nx, ny = -math.sin(angle), math.cos(angle)
        r0, r1 = radii
        if start != end:
            corners = [(x0 + nx * r0, y0 + ny * r0), (x1 + nx * r1, y1 + ny * r1)]
            corners += [(x1 - nx * r1, y1 - ny * r1), (x0 - nx * r0, y0 - ny * r0)]
            self._draw.polygon(corners, fill=fill)
        for (x, y), r in ((start, r0), (end, r1)):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
