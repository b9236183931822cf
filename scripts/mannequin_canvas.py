"""A small painter of shaded solids: round cones and ellipsoids with a depth buffer, seen along one axis.

Edges are soft by half a pixel; every solid casts a faint halo on what lies behind it, so that an arm can be told from
the chest it crosses. Pixels: x to the right, y down, z towards the viewer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Paint = tuple[float, float, float]
XYZ = tuple[float, float, float]

_HALO_PX = 0.012  # of the picture's side
_HALO = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cone:
    """A limb from one ball to another. part: what it is told as, see Canvas."""

    start: XYZ
    end: XYZ
    radii: tuple[float, float]
    paint: Paint
    halo: bool = True
    part: int = 1

    @property
    def depth(self) -> float:
        """How near the viewer it is, for the order of painting."""
        return (self.start[2] + self.end[2]) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """A head or its hair. axes: the rows are its unit axes in pixels' directions; skin paints a point of its surface.

    skin: given the surface's points in the solid's own frame, (3, h, w) in units of pixels, returns colours (h, w, 3)
    and how much of the surface is there, (h, w).
    """

    centre: XYZ
    axes: Floats
    radii: tuple[float, float, float]
    skin: Callable[[Floats], tuple[Floats, Floats]]
    part: int = 1
    halo: bool = True

    @property
    def depth(self) -> float:
        """How near the viewer it is, for the order of painting."""
        return self.centre[2]


class Canvas:
    """Pixels (side, side, 3) in 0..255, the depth of what is painted, and which part of the body it is (0: none)."""

    def __init__(self, ground: Floats, light: XYZ) -> None:
        self.pixels: Floats = ground.astype(np.float32)
        side = ground.shape[0]
        self.depth: Floats = np.full((side, side), -1e9, np.float32)
        self.parts: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
        self._side = side
        length = math.sqrt(sum(x * x for x in light))
        # The light is given with y up.
        self._light = (light[0] / length, -light[1] / length, light[2] / length)
        self._across = np.arange(side, dtype=np.float32)[None, :] + 0.5
        self._down = np.arange(side, dtype=np.float32)[:, None] + 0.5

    def paint(self, solids: list[Cone | Ellipsoid]) -> None:
        """Paint solids from back to front."""
        for solid in sorted(solids, key=lambda one: one.depth):
            if isinstance(solid, Cone):
                self._cone(solid)
            else:
                self._ellipsoid(solid)

    def _window(self, low: tuple[float, float], high: tuple[float, float]) -> tuple[slice, slice] | None:
        left, right = max(0, int(low[0])), min(self._side, int(high[0]) + 2)
        top, bottom = max(0, int(low[1])), min(self._side, int(high[1]) + 2)
        return None if left >= right or top >= bottom else (slice(top, bottom), slice(left, right))

    def _cone(self, cone: Cone) -> None:
        (x0, y0, z0), (x1, y1, z1), (r0, r1) = cone.start, cone.end, cone.radii
        most = max(r0, r1) + 1 + (_HALO_PX * self._side if cone.halo else 0)
        window = self._window((min(x0, x1) - most, min(y0, y1) - most), (max(x0, x1) + most, max(y0, y1) + most))
        if window is None:
            return
        dx, dy = x1 - x0, y1 - y0
        px, py = self._across[:, window[1]] - x0, self._down[window[0]] - y0
        square = dx * dx + dy * dy
        if square < 0.25:
            t = np.full((py.shape[0], px.shape[1]), 1.0 if z1 > z0 else 0.0, np.float32)
        else:
            t = np.clip((px * dx + py * dy) / square, 0.0, 1.0)
        radius = r0 + (r1 - r0) * t
        ox, oy = px - dx * t, py - dy * t
        away = np.sqrt(ox * ox + oy * oy)
        depth = z0 + (z1 - z0) * t
        share = np.minimum(away / radius, 1.0)
        nz = np.sqrt(1.0 - share * share)
        if cone.halo:
            self._shade_behind(window, np.clip(1 - (away - radius) / (_HALO_PX * self._side), 0, 1), depth)
        inverse = 1.0 / np.maximum(radius, away)
        colour = self._lit(ox * inverse, oy * inverse, nz)[..., None] * np.asarray(cone.paint, np.float32)
        self._blend(window, colour, np.clip(radius - away + 0.5, 0, 1), depth + radius * nz, cone.part)

    def _ellipsoid(self, solid: Ellipsoid) -> None:
        cx, cy, cz = solid.centre
        most = max(solid.radii) + 1 + (_HALO_PX * self._side if solid.halo else 0)
        window = self._window((cx - most, cy - most), (cx + most, cy + most))
        if window is None:
            return
        px, py = self._across[:, window[1]] - cx, self._down[window[0]] - cy
        # In the frame where the solid is a unit ball: a line of sight is base + z * along.
        scaled = solid.axes / np.asarray(solid.radii, np.float32)[:, None]
        base = scaled[:, 0, None, None] * px + scaled[:, 1, None, None] * py
        along = scaled[:, 2]
        a = float(along @ along)
        b = np.tensordot(along, base, 1)
        c = (base * base).sum(0) - 1.0
        inside = b * b - a * c
        z = (-b + np.sqrt(np.maximum(inside, 0))) / a
        # The slope of the discriminant turns it into a distance from the outline, in pixels.
        edge = inside / (2 * a) * float(np.mean(solid.radii))
        cover = np.clip(edge + 0.5, 0, 1)
        ball = base + along[:, None, None] * z
        normal = np.tensordot(scaled.T, ball, 1)
        normal /= np.sqrt((normal * normal).sum(0)) + 1e-6
        if solid.halo:
            self._shade_behind(window, np.clip(1 + edge / (_HALO_PX * self._side), 0, 1), np.float32(cz))
        colour, there = solid.skin(ball * np.asarray(solid.radii, np.float32)[:, None, None])
        lit = self._lit(normal[0], normal[1], normal[2])[..., None] * colour
        self._blend(window, lit, cover * there, cz + z, solid.part)

    def _lit(self, nx: Floats, ny: Floats, nz: Floats) -> Floats:
        x, y, z = self._light
        facing = np.maximum(nx * x + ny * y + nz * z, 0.0)
        return (0.54 + 0.54 * facing) * (0.86 + 0.14 * nz)  # type: ignore[no-any-return]

    def _shade_behind(self, window: tuple[slice, slice], halo: Floats, depth: Floats | np.float32) -> None:
        behind = (self.parts[window] > 0) & (self.depth[window] < depth)
        self.pixels[window] *= (1 - _HALO * halo * behind)[..., None]

    def _blend(self, window: tuple[slice, slice], colour: Floats, cover: Floats, depth: Floats, part: int) -> None:
        cover = cover * (depth > self.depth[window])
        here = self.pixels[window]
        here += cover[..., None] * (colour - here)
        solid = cover > 0.5
        self.depth[window] = np.where(solid, depth, self.depth[window])
        self.parts[window] = np.where(solid, np.uint8(part), self.parts[window])
