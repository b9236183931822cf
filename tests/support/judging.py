"""A detector of tests that finds what it was told to, picture after picture, and engines that can be held up."""

import threading
from collections.abc import Callable, Sequence

from PIL import Image

from models.detectors.people import BODY_POINTS, FoundPerson, FoundPoint


class Looker:
    """Finds the person that `House` orders, all joints in the middle, each time as far off to the side as told.

    offsets: of the looks, in widths of the picture; the last one again and again. at_look: called before each one.
    """

    name = "looker"

    def __init__(self, *offsets: float, at_look: Callable[[int], None] = lambda look: None) -> None:
        self.offsets = offsets
        self.looks = 0
        self._at_look = at_look

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        self._at_look(self.looks)
        offset = self.offsets[min(self.looks, len(self.offsets) - 1)]
        self.looks += 1
        place = FoundPoint((0.5 + offset) * photo.width, 0.5 * photo.height, 0.9)
        return [FoundPerson(body=(place,) * BODY_POINTS)]


class Gate:
    """The sleep of an engine whose steps can be held up."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self.open()

    def open(self) -> None:
        self._is_open.set()

    def shut(self) -> None:
        self._is_open.clear()

    def __call__(self, _duration_s: float) -> None:
        self._is_open.wait(30)
