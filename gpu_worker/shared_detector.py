"""The one detector of poses that a process has loaded, lent to one thread at a time.

Photos (gpu_worker.detecting) and finished pictures (gpu_worker.judging) are looked at with the same one, for it costs
memory. It is loaded at its first use. One that cannot be loaded, or hangs, is lost for as long as the process lives;
one that breaks is asked again.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import structlog
from PIL import Image

from models.card_faults import CardFault, fault_of
from models.detectors.opening import open_detector
from models.detectors.people import FoundPerson, PoseDetector
from models.detectors.weights import find_weights
from models.errors import CardFailed, DetectorMissing
from posegen.poses import MAX_PEOPLE

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
"""How soon a thread that waits for its turn notices that the detector is lost."""


class DetectorBusy(Exception):
    """Another thread had the detector for longer than this one wanted to wait."""


class DetectorLost(Exception):
    """The detector does not work in this process any more; `SharedDetector.why_not` says why."""


class SharedDetector:
    """A detector that may still have to be loaded. Thread-safe. name None: there is none, and `why_not` says why.

    most_people: so many it finds in one picture.
    """

    def __init__(
        self,
        name: str | None,
        opens: Callable[[], PoseDetector],
        *,
        device: str,
        why_not: str | None = None,
        most_people: int = MAX_PEOPLE,
    ) -> None:
        self.name = name
        self.device = device
        self.why_not = why_not
        self.most_people = most_people
        self._opens = opens
        self._detector: PoseDetector | None = None
        self._turn = threading.Lock()

    @property
    def is_able(self) -> bool:
        """Whether it works, as far as is known."""
        return self.why_not is None

    def people(self, photo: Image.Image, *, within_s: float = float("inf")) -> Sequence[FoundPerson]:
        """Return the people of an RGB photo, once it is this thread's turn.

        Raises DetectorBusy when that takes longer than within_s, DetectorLost, CardFailed when the card under it broke,
        and whatever else the detector raises.
        """
        self._take_turn(within_s)
        try:
            return self._loaded().detect(photo)
        except CardFailed:
            raise
        except Exception as error:
            self._raise_card_failure(error)
            raise
        finally:
            self._turn.release()

    def lose(self, reason: str) -> None:
        """Give it up: whoever waits for it, or asks for it later, is told."""
        self.why_not = f"{self.name} does not work: {reason}"
        log.error("detect.lost", reason=self.why_not)

    def _take_turn(self, within_s: float) -> None:
        until = monotonic() + within_s
        while self.is_able:
            left_s = until - monotonic()
            if self._turn.acquire(timeout=max(0.0, min(LOOK_EVERY_S, left_s))):
                if self.is_able:
                    return
                self._turn.release()
            elif left_s <= 0:
                raise DetectorBusy
        raise DetectorLost(self.why_not)

    def _loaded(self) -> PoseDetector:
        if self._detector is None:
            began = monotonic()
            try:
                self._detector = self._opens()
            except Exception as error:  # a broken file or library: this process says so and does not try again
                self._raise_card_failure(error)
                self.lose(str(error))
                raise DetectorLost(self.why_not) from error
            log.info("detect.loaded", detector=self._detector.name, load_s=round(monotonic() - began, 3))
        return self._detector

    def _raise_card_failure(self, error: Exception) -> None:
        """Raise CardFailed when that is what a detector's error tells: then the engine beside it is lost, too."""
        fault = fault_of(error)
        if fault is not None and self.device != "cpu":
            self.lose(str(error))  # or the next one would use the card again
            raise CardFailed(self.device, str(error), by_itself=fault is CardFault.BY_ITSELF) from error


def detector_in(folder: Path, *, device: str) -> SharedDetector:
    """Return the detector whose weights are in this folder, or in the Hugging Face cache, not loaded yet."""
    try:
        found = find_weights(folder)
    except DetectorMissing as error:
        return SharedDetector(None, _none, device=device, why_not=error.reason)
    return SharedDetector(found.weights.name, lambda: open_detector(found, device=device), device=device)


def _none() -> PoseDetector:
    raise DetectorLost
