"""Decoded pictures on their way to the host. On a card the copy runs beside the next steps, and nobody waits for it.

Whether a picture can be shown is read off one number that travels with it, so no thread of ours walks over its pixels.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLACK_BELOW = 1 / 255


class Arrival(Protocol):
    """The end of a copy."""

    def done(self) -> bool:
        """Whether the copy has ended; returns at once. Raises CardFailed."""

    def wait(self) -> None:
        """Return when the copy has ended. Raises CardFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Pictures of one size, not to be read before the arrival; arrival None: they are there.

    pixels: (b, height, width, 3) in 0..1; brightest: (b,) each picture's largest number, NaN where any of it is NaN.
    """

    pixels: "NDArray[np.float32]"
    brightest: "NDArray[np.float32]"
    arrival: Arrival | None = None

    def is_there(self) -> bool:
        """Whether pixels and brightest may be read."""
        return self.arrival is None or self.arrival.done()

    def wait(self) -> None:
        """Return when pixels and brightest may be read."""
        if self.arrival is not None:
            self.arrival.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpses:
    """Previews of one size, not to be read before the arrival; arrival None: they are there.

    pixels: (b, height, width, 3) uint8.
    """

    pixels: "NDArray[np.uint8]"
    arrival: Arrival | None = None

    def are_there(self) -> bool:
        """Whether pixels may be read."""
        return self.arrival is None or self.arrival.done()


def flaw(brightest: float) -> str | None:
    """Say what is wrong with a picture, in a word for BadPicture, or None when it can be shown."""
    if not math.isfinite(brightest):
        return "NaN"
    return "black" if brightest < BLACK_BELOW else None
