"""How well a finished picture holds its pose: a detector looks at it, and what it finds is held against what was asked.

A score is a gift. A finishing thread waits for it for a while, and a thread of its own looks at one picture after the
other; whatever the detector does (missing, slow, broken, hung), the picture is delivered, without a score then, and the
log says so once. Only a card that breaks under the detector ends the worker, as it ends everything.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from PIL import Image

from gpu_worker.detecting import pose_of
from gpu_worker.engine_choice import FAKE, LoadedEngine
from gpu_worker.shared_detector import DetectorBusy, DetectorLost, SharedDetector
from models.detectors.people import PoseDetector
from models.detectors.weights import OPENPOSE
from models.errors import CardFailed
from models.profiles import MANNEQUIN, TINY
from posegen.poses import frame_pose, pose_from_openpose
from posegen.poses.scoring import pose_score
from posegen.settings import Settings

log = structlog.get_logger()

PATIENCE_S = 15.0
"""So long a picture waits for its score."""
HUNG_S = 120.0
"""A detector that looks at one picture for longer is given up. Loading is part of the first look."""
LEAVING_S = 1.0
"""So long a picture waits for its score while the worker leaves."""
QUICK_S = 0.2
"""A detector that takes longer is not asked while more pictures wait to be finished than may."""
_FORGET = 0.8  # what the mean of looks keeps of itself at each one


@dataclass(slots=True, eq=False)
class _Ask:
    picture: Image.Image
    people: Mapping[str, Any]
    score: float | None = None
    is_done: bool = False


class Judge(threading.Thread):
    """Scores pictures, one at a time, in a thread of its own. `score` may be called from any thread."""

    def __init__(
        self,
        detector: SharedDetector,
        *,
        on_card_failure: Callable[[CardFailed], None],
        patience_s: float = PATIENCE_S,
        hung_s: float = HUNG_S,
    ) -> None:
        super().__init__(name="judge", daemon=True)
        self._detector = detector
        self._on_card_failure = on_card_failure
        self._patience_s = patience_s
        self._hung_s = hung_s
        self._changed = threading.Condition()
        self._waiting: deque[_Ask] = deque()
        self._is_leaving = self._is_ended = False
        self._looking_since: float | None = None
        self._looks, self._mean_s = 0, 0.0
        self._told: set[str] = set()

    def score(self, picture: Image.Image, people: Mapping[str, Any], *, is_behind: bool = False) -> float | None:
        """Return 0..1, how closely an RGB picture holds the pose of an OpenPose document; None: it was not judged.

        is_behind: more pictures wait to be finished than may; then only a quick detector is asked. Never raises.
        """
        ask = _Ask(picture, people)
        with self._changed:
            if self._is_ended or not self._works() or (is_behind and self._mean_s > QUICK_S):
                return None
            self._waiting.append(ask)
            self._changed.notify_all()
            self._changed.wait_for(lambda: ask.is_done or self._is_leaving, self._patience_s)
            if not ask.is_done and self._is_leaving:
                self._changed.wait_for(lambda: ask.is_done, LEAVING_S)
            if ask in self._waiting:
                self._waiting.remove(ask)
            if not ask.is_done and not self._is_leaving and self._works():
                self._tell_once("judge.late", patience_s=self._patience_s)
            return ask.score

    def hurry(self) -> None:
        """Let no picture wait for longer than a moment any more: the worker leaves."""
        with self._changed:
            self._is_leaving = True
            self._changed.notify_all()

    def end(self, *, within_s: float) -> bool:
        """End the thread; False when it is still in the detector after so long."""
        with self._changed:
            self._is_leaving = self._is_ended = True
            self._waiting.clear()
            self._changed.notify_all()
        if self.is_alive():
            self.join(within_s)
        return not self.is_alive()

    def run(self) -> None:
        """Look at pictures until ended."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_ended)
                if self._is_ended:
                    return
                ask = self._waiting.popleft()
                began = self._looking_since = monotonic()
            score = self._judged(ask)
            with self._changed:
                self._looking_since = None
                self._note_pace(monotonic() - began)
                ask.score, ask.is_done = score, True
                self._changed.notify_all()

    def _note_pace(self, took_s: float) -> None:
        self._looks += 1
        if self._looks > 1:  # the first one loads
            self._mean_s = _FORGET * self._mean_s + (1 - _FORGET) * took_s if self._looks > 2 else took_s

    def _judged(self, ask: _Ask) -> float | None:
        try:
            wanted = frame_pose(pose_from_openpose(ask.people).pose, ask.picture.width / ask.picture.height)
            if len(wanted.people) > self._detector.most_people:
                return None
            found = pose_of(self._detector.people(ask.picture, within_s=self._patience_s), ask.picture.size)
            return pose_score(wanted, found)
        except CardFailed as error:
            self._on_card_failure(error)
        except DetectorBusy:  # it looks at a photo
            self._tell_once("judge.busy")
        except DetectorLost as error:
            self._tell_once("judge.lost", reason=str(error))
        except Exception as error:  # a detector is somebody else's code: no surprise of its may cost a picture
            self._tell_once("judge.failed", reason=(str(error).splitlines() or [type(error).__name__])[0])
        return None

    def _works(self) -> bool:
        """Tell whether the detector is worth asking; one that hangs is given up here."""
        since = self._looking_since
        if since is not None and monotonic() - since > self._hung_s and self._detector.is_able:
            self._detector.lose(f"it hung for {self._hung_s:.0f} s over a finished picture; restart the worker")
        return self._detector.is_able

    def _tell_once(self, event: str, **facts: Any) -> None:
        if event not in self._told:
            self._told.add(event)
            log.warning(event, message="Pictures are delivered without a pose score then; this is said once.", **facts)


def judge_of(
    loaded: LoadedEngine,
    photos: SharedDetector,
    settings: Settings,
    *,
    on_card_failure: Callable[[CardFailed], None],
) -> Judge | None:
    """Return who judges an engine's pictures, not started yet; None where nobody can, or shall. photos: what is here.

    The untrained profile and the fake draw nobody whom a detector would know.
    """
    detector = _detector_of(loaded, photos, wanted=settings.pose_scores)
    if detector is None:
        if settings.redraw_below > 0:
            log.warning("redraw.no_detector", message="Nothing is drawn again: nobody judges pictures here.")
        return None
    log.info("judge.ready", detector=detector.name, redraw_below=settings.redraw_below)
    return Judge(detector, on_card_failure=on_card_failure)


def _detector_of(loaded: LoadedEngine, photos: SharedDetector, *, wanted: str) -> SharedDetector | None:
    """Return the detector that knows what the engine draws; without being told to, none that is too slow for it."""
    drawn = loaded.engine.profile.name
    if wanted == "off" or loaded.device.startswith(FAKE) or drawn == TINY.name:
        return None
    if drawn == MANNEQUIN.name:  # its detector travels with it, and finds one person
        return SharedDetector(drawn, _mannequin_detector, device="cpu", most_people=1)
    is_slow = photos.name == OPENPOSE.name and photos.device == "cpu"  # a minute for a picture
    return photos if photos.is_able and (wanted == "on" or not is_slow) else None


def _mannequin_detector() -> PoseDetector:
    from models.mannequin.detector import MannequinDetector

    return MannequinDetector()
