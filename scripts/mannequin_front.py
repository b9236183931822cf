"""What only the front of a top has: a neckline, a shirt's button band, a jacket that is open over a shirt.

At a small size this tells a front from a back better than a face does. It is painted as flat cones on the torso.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from mannequin_canvas import XYZ, Cone, Floats, Paint
from mannequin_looks import Look

WAIST = 0.62  # of the way from the neck to the hips
CHEST = 0.32  # of the way from the neck to the waist: where it stands out most
_NECKLINES = {
    "t-shirt": (0.72, 0.024),
    "shirt": (1.0, 0.019),
    "sweater": (0.95, 0.021),
    "tank top": (1.05, 0.030),
    "jacket": (0.8, 0.022),
}
"""How far down a top is open, to the chest (1.0), and half as wide as which share of the standing height."""
_BANDS = {"shirt": 0.010, "jacket": 0.021}
"""Half the width of what runs down a top's middle."""
_PROUD = 0.017  # of the standing height: how far all of it stands out from the torso's own cones


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The front of a torso. neck, hips: (3,) in pixels; ahead: the chest's way; unit: standing height in px."""

    neck: Floats
    hips: Floats
    ahead: Floats
    unit: float
    look: Look

    def solids(self, *, skin: int, top: int) -> list[Cone]:
        """Return what is painted; skin, top: what the parts are told as."""
        look = self.look
        deep, wide = _NECKLINES[look.top]
        places = [self._below_neck(deep * share) for share in (0.0, 0.5, 1.0)]
        opening = self._strip(places, (wide, wide * 0.8, wide * 0.35), look.skin_colour, skin)
        half = _BANDS.get(look.top)
        if half is None:
            return opening
        paint = _under(look.top_colour) if look.top == "jacket" else _beside(look.top_colour)
        places = [
            *(self._below_neck(share) for share in (0.0, 0.5, 1.0)),
            self._out(self._waist(), 0.056 * look.build),
            self._out(self.hips, 0.058 * look.build),
        ]
        return [*self._strip(places, (half,) * len(places), paint, top), *opening]

    def _waist(self) -> Floats:
        return (self.neck + (self.hips - self.neck) * WAIST).astype(np.float32)

    def _out(self, middle: Floats, surface: float) -> Floats:
        return (middle + self.ahead * np.float32(surface * self.unit)).astype(np.float32)

    def _below_neck(self, share: float) -> Floats:
        """Return a point of the chest's front, from the neck (0) to where it stands out most (1)."""
        down = self._waist() - self.neck
        thick = thickness(self.look)
        bulge = 0.070 * self.look.build * thick
        up = (1 - share) * CHEST * float(np.linalg.norm(down)) / self.unit
        surface = 0.018 + max(bulge**2 - up**2, 0.0) ** 0.5
        return self._out(self.neck + down * (CHEST * share), max(surface, 0.036 * thick))

    def _strip(self, places: list[Floats], radii: tuple[float, ...], paint: Paint, part: int) -> list[Cone]:
        sunk = [
            place - self.ahead * np.float32((radius - _PROUD) * self.unit)
            for place, radius in zip(places, radii, strict=True)
        ]
        return [
            Cone(
                start=_xyz(start),
                end=_xyz(end),
                radii=(first * self.unit, second * self.unit),
                paint=paint,
                halo=False,
                part=part,
            )
            for (start, first), (end, second) in pairwise(zip(sunk, radii, strict=True))
        ]


def thickness(look: Look) -> float:
    """Return how much wider than a body a top is."""
    return 1.12 if look.top in ("sweater", "jacket") else 1.0


def _xyz(point: Floats) -> XYZ:
    return float(point[0]), float(point[1]), float(point[2])


def _under(colour: Paint) -> Paint:
    """Return what is worn under a jacket of this colour: white, or black where that would not show."""
    return (44.0, 44.0, 48.0) if min(colour) > 150 else (238.0, 238.0, 236.0)


def _beside(colour: Paint) -> Paint:
    """Return a button band's colour: the shirt's, darker, or lighter where that would not show."""
    if max(colour) < 110:
        return colour[0] * 0.5 + 90, colour[1] * 0.5 + 90, colour[2] * 0.5 + 90
    return colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6
