"""Draws a training mannequin: a solved figure and a look become a picture, and it is known what is seen where.

The body is made of round cones around the skeleton's bones with volume, clothes end at seams, hands have fingers, and
the face is painted on the head in the head's own frame, so that it turns with it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from mannequin_canvas import XYZ, Canvas, Cone, Ellipsoid, Floats, Paint
from mannequin_face import head_solids
from mannequin_front import WAIST, Front, thickness
from mannequin_looks import Look
from mannequin_skeletons import head_frame
from numpy.typing import NDArray

from posegen.poses import anatomy, skeleton
from posegen.poses.figure import SolvedFigure, chest_front, rolled

GROUND, TOP, BOTTOM, SKIN, HAIR, SHOES = range(6)
"""What `Rendered.parts` says of every pixel."""
_SLEEVES = {
    "t-shirt": (0.62, 0.0),
    "shirt": (1.0, 0.94),
    "sweater": (1.0, 0.97),
    "tank top": (0.0, 0.0),
    "jacket": (1.0, 0.97),
}
_SEEN_WITHIN = 0.05  # of the standing height: how far a joint may lie below the surface that is seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """pixels (side, side, 3); parts (side, side): what is where; joints (18, 2) in pixels; seen (18,): which show."""

    pixels: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    joints: Floats
    seen: NDArray[np.bool_]


def render(solved: SolvedFigure, look: Look, side_px: int) -> Rendered:
    """Draw a figure as a person who looks like `look`, on a square of side_px."""
    body = _Body(solved, look, side_px)
    canvas = Canvas(_ground(look, body, side_px), look.light)
    canvas.paint(body.solids())
    joints, seen = body.joints(canvas)
    pixels = np.clip(canvas.pixels, 0, 255).astype(np.uint8)
    return Rendered(pixels=pixels, parts=canvas.parts, joints=joints, seen=seen)


def joints_of(solved: SolvedFigure, side_px: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return where the 18 joints lie, (18, 2) in pixels, and which there are at all."""
    origin = _Space(solved, side_px)
    there = np.array([p is not None for p in solved.body])
    return np.array([origin.at(p or (0.0, 0.0, 0.0))[:2] for p in solved.body], np.float32), there


def _ground(look: Look, body: "_Body", side: int) -> Floats:
    near, far = (np.asarray(colour, np.float32) for colour in look.ground_colours)
    ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    if look.ground == "studio":  # a wall and a floor that meet softly
        ramp = np.clip((ramp - 0.74) * 9, 0, 1)
    ground: Floats = np.broadcast_to(near + (far - near) * ramp, (side, side, 3)).copy()
    place = body.shadow()
    if place is not None:
        x, y, wide, high = place
        across, down = np.arange(side, dtype=np.float32)[None, :], np.arange(side, dtype=np.float32)[:, None]
        away = ((across - x) / wide) ** 2 + ((down - y) / high) ** 2
        ground *= (1 - 0.32 * np.clip(1.3 - away, 0, 1))[..., None]
    return ground


class _Space:
    """From a figure's space to pixels."""

    def __init__(self, solved: SolvedFigure, side: int) -> None:
        place = solved.figure.placement
        self.unit = place.stature * side
        x, y = _anchor(solved)
        self._origin = (place.x * side - x * self.unit, place.height * side + y * self.unit)

    def at(self, point: XYZ) -> XYZ:
        """Return a point of the figure's space in pixels."""
        return self._origin[0] + point[0] * self.unit, self._origin[1] - point[1] * self.unit, point[2] * self.unit


class _Body(_Space):
    """One figure in pixels: where everything is, and the solids it is made of."""

    def __init__(self, solved: SolvedFigure, look: Look, side: int) -> None:
        super().__init__(solved, side)
        self._solved, self._look, self._side = solved, look, side
        place = solved.figure.placement
        self._points = [None if p is None else self.at(p) for p in solved.body]
        self._chest = self._way(rolled(chest_front(solved.figure.torso), place.roll))
        self._hips_front = self._way(rolled(_facing(solved.figure.torso.hips_turn), place.roll))

    def _way(self, direction: XYZ) -> Floats:
        return np.array([direction[0], -direction[1], direction[2]], np.float32)

    def _point(self, index: int) -> Floats:
        point = self._points[index]
        return np.zeros(3, np.float32) if point is None else np.asarray(point, np.float32)

    def shadow(self) -> tuple[float, float, float, float] | None:
        """Return where the shadow on the floor lies: middle and half-axes; None where the feet are out of frame."""
        ankles = [self._point(i) for i in (skeleton.R_ANKLE, skeleton.L_ANKLE)]
        low = max(float(self._point(i)[1]) for i in range(1, 14)) + 0.045 * self.unit
        if low > self._side * 1.02:
            return None
        near = [float(self._point(i)[0]) for i in range(2, 14) if self._point(i)[1] > low - 0.16 * self.unit]
        near += [float(ankle[0]) for ankle in ankles if ankle[1] > low - 0.2 * self.unit]
        wide = (max(near) - min(near)) / 2 + 0.10 * self.unit
        return (max(near) + min(near)) / 2, low, wide, 0.022 * self.unit

    def joints(self, canvas: Canvas) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the 18 joints in pixels and which of them are seen, neither hidden nor out of the frame."""
        places, seen = np.zeros((18, 2), np.float32), np.zeros(18, bool)
        for index, point in enumerate(self._points):
            if point is None:
                continue
            places[index] = point[:2]
            x, y = int(point[0]), int(point[1])
            if 0 <= x < self._side and 0 <= y < self._side:
                room = (0.085 if index in (1, 2, 5, 8, 11) else _SEEN_WITHIN) * self.unit
                seen[index] = canvas.depth[y, x] < point[2] + room and canvas.parts[y, x] > 0
        return places, seen

    def solids(self) -> list[Cone | Ellipsoid]:
        """Return everything that is painted."""
        solids: list[Cone | Ellipsoid] = [*self._torso(), *self._neck(), *self._front()]
        for side in (-1, 1):
            solids += [*self._leg(side), *self._arm(side)]
        if self._look.bottom == "skirt":
            solids += self._skirt()
        solids += head_solids(self._solved, self._look, self.at, self.unit, skin=SKIN, hair=HAIR)
        return solids

    def _cone(
        self,
        start: NDArray[Any],
        end: NDArray[Any],
        radii: tuple[float, float],
        paint: Paint,
        part: int,
        *,
        halo: bool = True,
    ) -> Cone:
        return Cone(
            start=(float(start[0]), float(start[1]), float(start[2])),
            end=(float(end[0]), float(end[1]), float(end[2])),
            radii=(radii[0] * self.unit, radii[1] * self.unit),
            paint=paint,
            halo=halo,
            part=part,
        )

    def _torso(self) -> list[Cone]:
        look, build = self._look, self._look.build
        right, left, neck = self._point(2), self._point(5), self._point(1)
        hip_right, hip_left = self._point(8), self._point(11)
        hips = (hip_right + hip_left) / 2
        waist = neck + (hips - neck) * WAIST
        paint, below = look.top_colour, look.bottom_colour
        thick = thickness(look)
        ahead = self._chest * 0.018 * self.unit
        cones = [
            self._cone(right, left, (0.036 * thick,) * 2, paint, TOP, halo=False),
            self._cone(
                neck + (waist - neck) * 0.32 + ahead,
                waist,
                (0.070 * build * thick, 0.056 * build),
                paint,
                TOP,
                halo=False,
            ),
        ]
        for shoulder, hip in ((right, hip_right), (left, hip_left)):
            inner = shoulder + (neck - shoulder) * 0.32
            side_waist = inner + (hip - inner) * 0.66
            cones.append(self._cone(inner, side_waist, (0.052 * thick, 0.050 * build), paint, TOP, halo=False))
            hem = inner + (hip - inner) * (1.0 if look.top in ("sweater", "jacket") else 0.9)
            cones.append(self._cone(side_waist, hem, (0.050 * build, 0.056 * build), paint, TOP, halo=False))
        cones.append(self._cone(hip_right, hip_left, (0.060 * build,) * 2, below, BOTTOM, halo=False))
        return cones

    def _neck(self) -> list[Cone]:
        pivot, axes = head_frame(self._solved)
        top = self.at(tuple(pivot[k] + axes[1][k] * 0.02 for k in range(3)))  # type: ignore[arg-type]
        base = self._point(1) + self._chest * 0.006 * self.unit
        end = np.asarray(top, np.float32)
        cones = [self._cone(base, end, (0.033, 0.030), self._look.skin_colour, SKIN, halo=False)]
        collar = base + (end - base) * 0.12
        cones.append(self._cone(base, collar, (0.040, 0.037), self._look.top_colour, TOP, halo=False))
        return cones

    def _front(self) -> list[Cone]:
        neck, hips = self._point(1), ((self._point(8) + self._point(11)) / 2).astype(np.float32)
        return Front(neck=neck, hips=hips, ahead=self._chest, unit=self.unit, look=self._look).solids(
            skin=SKIN, top=TOP
        )

    def _leg(self, side: int) -> list[Cone]:
        look, build = self._look, self._look.build
        hip, knee, ankle = (self._point(i) for i in ((8, 9, 10) if side < 0 else (11, 12, 13)))
        covered = {"shorts": 0.68, "skirt": 0.4}.get(look.bottom, 1.0)
        wide = 1.1 if look.bottom == "trousers" else 1.0
        paint, skin = look.bottom_colour, look.skin_colour
        shown, part = (skin, SKIN) if covered < 1 else (paint, BOTTOM)
        middle = hip + (knee - hip) * covered
        thick = 0.060 + (0.043 - 0.060) * covered
        cones = []
        if covered < 1:
            cones.append(self._cone(hip, knee, (0.054 * build, 0.040), skin, SKIN))
            cones.append(self._cone(hip, middle, (0.063 * build, thick * 1.12), paint, BOTTOM))
        else:
            cones.append(self._cone(hip, knee, (0.060 * build, 0.043 * wide), paint, BOTTOM))
        calf = knee + (ankle - knee) * 0.34
        cones.append(self._cone(knee, calf, (0.041 * wide, 0.041 * wide), shown, part))
        cones.append(self._cone(calf, ankle, (0.041 * wide, 0.027 * wide), shown, part))
        return [*cones, *self._foot(knee, ankle)]

    def _foot(self, knee: Floats, ankle: Floats) -> list[Cone]:
        along = (ankle - knee) / (np.linalg.norm(ankle - knee) + 1e-6)
        ahead = self._hips_front - along * float(self._hips_front @ along)
        length = float(np.linalg.norm(ahead))
        ahead = ahead / length if length > 0.25 else along
        toes_way = ahead * 0.93 + along * 0.36
        toes_way /= np.linalg.norm(toes_way) + 1e-6
        heel = ankle + (along * 0.020 - ahead * 0.012) * self.unit
        ball = heel + toes_way * 0.088 * self.unit
        return [self._cone(heel, ball, (0.029, 0.024), self._look.shoes_colour, SHOES)]

    def _skirt(self) -> list[Cone]:
        look = self._look
        hems = []
        for hip, knee in ((self._point(8), self._point(9)), (self._point(11), self._point(12))):
            hems.append((hip, hip + (knee - hip) * 0.72))
        middle = tuple((a + b) / 2 for a, b in zip(*hems, strict=True))
        return [
            self._cone(start, end, (0.060, 0.064), look.bottom_colour, BOTTOM, halo=False)
            for start, end in (*hems, middle)
        ]

    def _arm(self, side: int) -> list[Cone]:
        look, build = self._look, self._look.build
        shoulder, elbow, wrist = (self._point(i) for i in ((2, 3, 4) if side < 0 else (5, 6, 7)))
        upper, lower = _SLEEVES[look.top]
        paint, skin = look.top_colour, look.skin_colour
        thick = 1.18 if look.top in ("sweater", "jacket") else 1.06
        cones = [
            self._cone(shoulder, elbow, (0.036 * build, 0.028 * build), skin, SKIN),
            self._cone(elbow, wrist, (0.028 * build, 0.020), skin, SKIN),
        ]
        if upper > 0:
            hem = shoulder + (elbow - shoulder) * upper
            thin = 0.036 + (0.028 - 0.036) * upper
            cones.append(self._cone(shoulder, hem, (0.038 * build * thick, thin * build * thick + 0.003), paint, TOP))
        if lower > 0:
            hem = elbow + (wrist - elbow) * lower
            cones.append(self._cone(elbow, hem, (0.030 * build * thick, 0.024 * thick), paint, TOP))
        return [*cones, *self._hand(side, elbow, wrist)]

    def _hand(self, side: int, elbow: Floats, wrist: Floats) -> list[Cone]:
        points = self._solved.hand_right if side < 0 else self._solved.hand_left
        skin = self._look.skin_colour
        if points is None:
            along = (wrist - elbow) / (np.linalg.norm(elbow - wrist) + 1e-6)
            return [self._cone(wrist, wrist + along * 0.03 * self.unit, (0.020, 0.022), skin, SKIN)]
        hand = [np.asarray(self.at(p), np.float32) for p in points]
        cones = [
            self._cone(hand[0], (hand[5] + hand[9]) / 2, (0.018, 0.017), skin, SKIN),
            self._cone(hand[0], (hand[13] + hand[17]) / 2, (0.018, 0.016), skin, SKIN),
        ]
        for finger in range(5):
            first = 1 + 4 * finger
            joint = first + (1 if finger else 2)
            cones.append(self._cone(hand[first], hand[joint], (0.0105, 0.0095), skin, SKIN, halo=False))
            cones.append(self._cone(hand[joint], hand[first + 3], (0.0095, 0.0080), skin, SKIN, halo=False))
        return cones


def _anchor(solved: SolvedFigure) -> tuple[float, float]:
    """Return the point of the figure's space that its placement places, as posegen.poses.figure projects it."""
    neck = solved.body[skeleton.NECK] or (0.0, 0.0, 0.0)
    if solved.figure.placement.anchor == "neck":
        return neck[0], neck[1]
    across = [p[0] for p in solved.body if p is not None]
    ankles = [p[1] for i in (skeleton.R_ANKLE, skeleton.L_ANKLE) if (p := solved.body[i]) is not None]
    low = min(ankles) - anatomy.ANKLE_HEIGHT if solved.figure.placement.anchor == "ground" else 0.0
    return (min(across) + max(across)) / 2, low


def _facing(turn: float) -> XYZ:
    angle = np.deg2rad(turn)
    return float(np.sin(angle)), 0.0, float(np.cos(angle))
