"""The head of a training mannequin: face, ears and hair, painted in the head's own frame (see anatomy)."""

from collections.abc import Callable

import numpy as np
from mannequin_canvas import XYZ, Cone, Ellipsoid, Floats, Paint
from mannequin_looks import Look
from mannequin_skeletons import head_frame, head_point

from posegen.poses.figure import SolvedFigure

_CENTRE = (0.0, 0.116, 0.002)
_RADII = (0.047, 0.066, 0.056)
_HAIR_CENTRE = (0.0, 0.124, -0.006)
_HAIR_RADII = (0.054, 0.068, 0.061)
_DARK = np.array([34, 26, 24], np.float32)
_WHITE = np.array([246, 244, 240], np.float32)

At = Callable[[XYZ], XYZ]


def head_solids(
    solved: SolvedFigure, look: Look, at: At, unit: float, *, skin: int, hair: int
) -> list[Cone | Ellipsoid]:
    """Return the head's solids. at: from the figure's space to pixels; unit: the standing height in pixels."""
    _, axes = head_frame(solved)
    # Rows: the head's axes as directions of pixels (y down).
    rows = np.array([[axis[0], -axis[1], axis[2]] for axis in axes], np.float32)

    def place(local: XYZ) -> XYZ:
        return at(head_point(solved, local))

    def ball(local: XYZ, radius: float, paint: Paint, part: int, *, to: XYZ | None = None, end: float = 0) -> Cone:
        return Cone(
            start=place(local),
            end=place(to or local),
            radii=(radius * unit, (end or radius) * unit),
            paint=paint,
            halo=False,
            part=part,
        )

    tone = look.skin_colour
    darker: Paint = (tone[0] * 0.93, tone[1] * 0.90, tone[2] * 0.88)
    solids: list[Cone | Ellipsoid] = [
        Ellipsoid(
            centre=place(_CENTRE),
            axes=rows,
            radii=(_RADII[0] * unit, _RADII[1] * unit, _RADII[2] * unit),
            skin=_Face(look, unit),
            part=skin,
        ),
        ball((0.0, 0.104, 0.053), 0.005, darker, skin, to=(0.0, 0.091, 0.060), end=0.0085),
        ball((0.046, 0.108, -0.002), 0.012, darker, skin),
        ball((-0.046, 0.108, -0.002), 0.012, darker, skin),
    ]
    if look.cut != "bald":
        solids += _hair(look, place, ball, rows, unit, hair)
    return solids


def _hair(
    look: Look, place: At, ball: Callable[..., Cone], rows: Floats, unit: float, part: int
) -> list[Cone | Ellipsoid]:
    paint = look.hair_colour
    solids: list[Cone | Ellipsoid] = [
        Ellipsoid(
            centre=place(_HAIR_CENTRE),
            axes=rows,
            radii=(_HAIR_RADII[0] * unit, _HAIR_RADII[1] * unit, _HAIR_RADII[2] * unit),
            skin=_Hair(look, unit),
            part=part,
        )
    ]
    if look.cut == "bun":
        solids.append(ball((0.0, 0.192, -0.032), 0.030, paint, part))
    elif look.cut == "ponytail":
        solids.append(ball((0.0, 0.158, -0.062), 0.021, paint, part, to=(0.0, 0.02, -0.096), end=0.013))
    elif look.cut == "long":
        for x in (-0.040, 0.040):
            solids.append(ball((x, 0.125, -0.020), 0.024, paint, part, to=(x * 1.25, -0.020, -0.034), end=0.021))
        solids.append(ball((0.0, 0.125, -0.034), 0.040, paint, part, to=(0.0, -0.020, -0.054), end=0.034))
    return solids


class _Face:
    """Paints skin, eyes, brows and mouth on the head's ellipsoid."""

    def __init__(self, look: Look, unit: float) -> None:
        self._look, self._unit = look, unit

    def __call__(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the colours and the cover of points of the head's surface."""
        x, y, z = points / self._unit
        tone = np.asarray(self._look.skin_colour, np.float32)
        colours = np.broadcast_to(tone, (*x.shape, 3)).copy()
        front = z > 0.012
        brow = np.asarray(self._look.hair_colour if self._look.cut != "bald" else (70, 52, 44), np.float32) * 0.7
        for side in (-1, 1):
            ex, ey = x - side * 0.0190, y + 0.002
            self._spot(colours, (ex / 0.0105, ey / 0.0068), _WHITE, 0.0068, front)
            self._spot(colours, (ex / 0.0056, ey / 0.0066), _DARK, 0.0056, front)
            arch = y - 0.0145 + 3.5 * (x - side * 0.020) ** 2 * 10
            self._spot(colours, ((x - side * 0.020) / 0.0130, arch / 0.0032), brow, 0.0032, front)
        lips = tone * np.array([0.80, 0.46, 0.46], np.float32) + np.array([14, 6, 8], np.float32)
        curve = y + 0.0395 - 14.0 * x * x
        self._spot(colours, (x / 0.0170, curve / 0.0052), lips, 0.0052, front)
        return colours, np.ones_like(x)

    def _spot(self, colours: Floats, at: tuple[Floats, Floats], paint: Floats, size: float, front: Floats) -> None:
        away = np.sqrt(at[0] ** 2 + at[1] ** 2)
        cover = np.clip((1 - away) * size * self._unit + 0.5, 0, 1) * front
        colours += cover[..., None] * (paint - colours)


class _Hair:
    """Hair is a shell that leaves the face free."""

    def __init__(self, look: Look, unit: float) -> None:
        self._look, self._unit = look, unit

    def __call__(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the colours and where there is hair."""
        x, y, z = points / self._unit
        paint = np.asarray(self._look.hair_colour, np.float32)
        strand = 1 + 0.09 * np.sin(x * 420 + y * 60)
        low = -0.060 if self._look.cut == "long" else -0.042
        line = np.where(z > 0.004, 0.026 - 12 * x * x, low)
        if self._look.cut == "long":
            line = np.where((z > 0.004) & (np.abs(x) > 0.040), low, line)
        cover = np.clip((y - line) * self._unit + 0.5, 0, 1)
        return strand[..., None] * paint, cover
