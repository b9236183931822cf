"""Drawing a picture once more, with another seed, when it missed its pose: inside its claim and its paid order.

The claim stays held all the while. It goes back to the engine under another key, and the first drawing waits for it on
the desk, as finished pixels: whatever becomes of the second one, the first can be delivered. Nothing is written in
between, since both drawings follow from the item's seed: after a death in between the picture begins with its first.
"""

import threading
from collections.abc import Callable

import structlog

from gpu_worker.desk import Desk, Stage, key_of
from gpu_worker.drawn import Drawn
from gpu_worker.pictures import request_for
from models.requests import PictureRequest

log = structlog.get_logger()


class Redrawing:
    """Decides and begins. below: the score under which a picture is drawn once more; 0: never. Thread-safe.

    submit, wake: hand a request to the engine, and say that something was. is_shut: tells whether that is in vain.
    """

    def __init__(
        self,
        desk: Desk,
        submit: Callable[[PictureRequest], None],
        wake: Callable[[], None],
        *,
        below: float,
        is_shut: Callable[[], bool] = lambda: False,
    ) -> None:
        self._desk = desk
        self._submit = submit
        self._wake = wake
        self._below = below
        self._is_shut = is_shut
        self._is_draining = False
        self._ending = threading.Lock()

    def begin_drain(self) -> None:
        """Begin none any more. Called from a signal handler, so it takes no lock."""
        self._is_draining = True

    def draw_again(self, drawn: Drawn, *, within_s: float) -> bool:
        """Have a picture drawn once more that was drawn once, if it is worth it. False: deliver it as it is, within_s.

        A picture that is drawn alone, for it may kill its process, is not put there a second time.
        """
        if drawn.pose_score is None or drawn.pose_score >= self._below:
            return False
        if drawn.claim.alone or self._is_shut():
            return False
        with self._ending:
            again = None if self._is_draining else self._desk.draw_again(drawn)
        if again is None:
            return False
        try:
            self._submit(request_for(again))
        except Exception:  # it was drawn before, so whatever is the matter now is no reason to lose that
            log.exception("redraw.not_submitted")
            # None: it was given up or delivered meanwhile by whoever ends this process
            return self._desk.take_first(key_of(again), within_s=within_s) is None
        self._wake()
        log.info("picture.redrawn", pose_score=round(drawn.pose_score, 3), seed=again.drawing_seed)
        return True

    def end(self, *, within_s: float) -> list[Drawn]:
        """Begin none any more, give up those that are in the engine, and return the drawings that are to be delivered.

        They are on the desk, as being finished.
        """
        with self._ending:
            self._is_draining = True
            waiting = [held.key for held in self._desk.held(Stage.ENGINE) if held.first is not None]
            taken = [self._desk.take_first(key, within_s=within_s) for key in waiting]
        return [first for first in taken if first is not None]


def better_of(first: Drawn, second: Drawn) -> Drawn:
    """Return the drawing that holds its pose better, the first when in doubt."""
    is_second = (second.pose_score or 0.0) > (first.pose_score or 0.0)
    return second if is_second else first
