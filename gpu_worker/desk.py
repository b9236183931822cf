"""What this process holds at the moment: each claim, the stage it is in, and until when that stage may take.

The desk is the only state shared by the claiming thread, the engine's thread, the finishing threads and the lease
keeper. A lease is renewed only while the picture's stage is inside its own deadline, so a thread that hangs loses its
pictures instead of keeping them for ever.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from time import monotonic

from gpu_worker.drawn import Drawn
from posegen.detections import DetectionClaim
from posegen.leases import Claim


class Stage(StrEnum):
    """Where a held picture is."""

    ENGINE = "engine"  # submitted: waiting for a row, or in the forward
    FINISH = "finish"  # drawn: being encoded, stored and delivered


@dataclass(slots=True)
class Held:
    """A claim on the desk. `deadline` is monotonic and concerns FINISH; the engine's own beat covers ENGINE.

    first: of a picture that is drawn once more, what the drawing before was; it goes with the claim.
    """

    claim: Claim
    key: str
    stage: Stage = Stage.ENGINE
    deadline: float = field(default=float("inf"))
    first: Drawn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDetection:
    """The one photo that is being looked at, and whether that takes longer than it may."""

    claim: DetectionClaim
    is_overdue: bool


def key_of(claim: Claim) -> str:
    """Return the engine's name for a claim: the same picture drawn again has another."""
    return f"{claim.item_id}:{claim.attempt}" + (f":{claim.redraw}" if claim.redraw else "")


class Desk:
    """The claims of one process. Thread-safe; `changed` is notified whenever room may have come free."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.changed = threading.Condition()
        self.changes = 0
        self._held: dict[str, Held] = {}
        self._detection: tuple[DetectionClaim, float] | None = None
        self._clock = clock

    def take(self, claim: Claim) -> str:
        """Put a fresh claim on the desk and return its key."""
        key = key_of(claim)
        with self.changed:
            self._held[key] = Held(claim=claim, key=key)
        return key

    def begin_finish(self, key: str, *, within_s: float) -> Claim | None:
        """Note that a picture left the engine; None when it was dropped meanwhile."""
        with self.changed:
            held = self._held.get(key)
            if held is None:
                return None
            held.stage = Stage.FINISH
            held.deadline = self._clock() + within_s
            self._tell()
            return held.claim

    def draw_again(self, first: Drawn) -> Claim | None:
        """Put the next drawing of a picture in the place of one that is being finished; return its claim.

        None, and nothing changed, when the picture was dropped meanwhile, or a suspect is to be drawn alone.
        """
        again = replace(first.claim, redraw=first.claim.redraw + 1)
        with self.changed:
            if self.holds_suspect() or self._held.pop(key_of(first.claim), None) is None:
                return None
            key = key_of(again)
            self._held[key] = Held(claim=again, key=key, first=first)
            self._tell()
            return again

    def take_first(self, key: str, *, within_s: float) -> Drawn | None:
        """Give up the next drawing of a picture: the one before is to be finished again, and is returned.

        None, and nothing changed, when there is no such drawing, or it left the engine already.
        """
        with self.changed:
            held = self._held.get(key)
            if held is None or held.first is None or held.stage is not Stage.ENGINE:
                return None
            del self._held[key]
            first = held.first
            key = key_of(first.claim)
            deadline = self._clock() + within_s
            self._held[key] = Held(claim=first.claim, key=key, stage=Stage.FINISH, deadline=deadline)
            self._tell()
            return first

    def first_of(self, key: str) -> Drawn | None:
        """Return what the drawing before this one was; None: this is the first."""
        with self.changed:
            held = self._held.get(key)
            return held.first if held else None

    def acquit(self, key: str) -> None:
        """Note that others may be drawn again, for this picture is on record as out of the engine."""
        with self.changed:
            held = self._held.get(key)
            if held is not None:
                held.claim = replace(held.claim, alone=False)
                self._tell()

    def drop(self, key: str) -> Claim | None:
        """Take a claim off the desk: delivered, failed, given back or lost."""
        with self.changed:
            held = self._held.pop(key, None)
            self._tell()
            return held.claim if held else None

    def held(self, stage: Stage | None = None) -> list[Held]:
        """Return what is held, oldest first."""
        with self.changed:
            return [held for held in self._held.values() if stage is None or held.stage is stage]

    def renewable(self, *, engine_is_well: bool) -> list[Held]:
        """Return what is inside its deadline; pictures in the engine only while the engine is well."""
        now = self._clock()
        return [held for held in self.held() if (engine_is_well if held.stage is Stage.ENGINE else now < held.deadline)]

    def take_detection(self, claim: DetectionClaim, *, within_s: float) -> None:
        """Put a photo beside the pictures. There is one at a time."""
        with self.changed:
            self._detection = (claim, self._clock() + within_s)

    def detection(self) -> HeldDetection | None:
        """Return the photo that is being looked at. Its lease is renewed until it is overdue."""
        with self.changed:
            if self._detection is None:
                return None
            claim, deadline = self._detection
            return HeldDetection(claim=claim, is_overdue=self._clock() >= deadline)

    def drop_detection(self, claim: DetectionClaim) -> bool:
        """Take that photo off the desk; False when it was off already."""
        with self.changed:
            if self._detection is None or self._detection[0] != claim:
                return False
            self._detection = None
            self._tell()
            return True

    def is_overdue(self, key: str) -> bool:
        """Tell whether a picture's finishing is past its deadline, or it is not held any more."""
        with self.changed:
            held = self._held.get(key)
            return held is None or self._clock() >= held.deadline

    def holds_suspect(self) -> bool:
        """Tell whether a picture that must be drawn alone is held and was not acquitted yet.

        If the next one killed this process, a picture that was only being finished would be blamed for it too.
        """
        return any(held.claim.alone for held in self.held())

    def notify(self) -> None:
        """Wake whoever waits for room."""
        with self.changed:
            self._tell()

    def wait(self, timeout_s: float, *, seen: int) -> None:
        """Sleep until something changed since `changes` was `seen`, at most `timeout_s`."""
        with self.changed:
            self.changed.wait_for(lambda: self.changes != seen, max(0.0, timeout_s))

    def _tell(self) -> None:
        self.changes += 1
        self.changed.notify_all()
