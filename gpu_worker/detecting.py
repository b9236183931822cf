"""Finding poses in photos: one thread beside the engine's, one photo at a time, with whichever detector is here.

The thread claims by itself when it is woken (by a ring, or now and then while pictures are drawn), so neither the
claiming thread nor the engine ever waits for a photo. A detector that breaks fails its photo and nothing else; one that
cannot be loaded, or hangs, is given up, and this worker's row says so.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from time import monotonic
from typing import Any

import stamina
import structlog
from PIL import Image

from gpu_worker.desk import Desk
from gpu_worker.shared_detector import DetectorLost, SharedDetector
from models.detectors.people import FACE_POINTS, FoundPerson, FoundPoint
from models.errors import CardFailed, DetectorFailed
from posegen.announcing import Announcer
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.detections import (
    DetectionClaim,
    ability,
    claim_detection,
    fail_detection,
    finish_detection,
    let_go_photos,
    waiting_detection,
)
from posegen.errors import DatabaseAway, NotFound, PosegenError, StorageAway
from posegen.leases import Claimant
from posegen.poses import MAX_PEOPLE, Person, Pose, pose_to_openpose
from posegen.poses.errors import PoseError
from posegen.poses.keypoints import LEAST_COORDINATE, MOST_COORDINATE, KeyPoint, Points
from posegen.recovery import return_lost
from posegen.storage import Storage

log = structlog.get_logger()

DETECT_S = 600.0
"""How long a photo may take, loading included; OpenPose on a CPU takes minutes for a group."""
STORE_S = 30.0
DATABASE_S = 90.0
LOOK_EVERY_S = 1.0
"""How soon a photo is noticed while pictures are drawn."""
NOBODY_MESSAGE = "Nobody was found in this photo; please try one that shows a whole person."
BROKEN_MESSAGE = "This photo could not be read by the detector; please try another one."
UNUSABLE_MESSAGE = "The detector of this service does not work at the moment; please try again later."
STORAGE_MESSAGE = "The photo could not be read from the store; please upload it again."


class NoPose(Exception):
    """This photo gives no pose; `str()` is for its customer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Detecting(threading.Thread):
    """The thread that looks at photos with this worker's detector. Without one it never does anything."""

    def __init__(
        self,
        announcer: Announcer,
        storage: Storage,
        desk: Desk,
        claimant: Claimant,
        detector: SharedDetector,
        *,
        on_card_failure: Callable[[CardFailed], None],
    ) -> None:
        super().__init__(name="detect", daemon=True)
        self._on_card_failure = on_card_failure
        self._announcer = announcer
        self._storage = storage
        self._desk = desk
        self._claimant = claimant
        self._detector = detector
        self._woken = threading.Event()
        self._leaving = threading.Event()
        self._is_draining = self._is_working = False
        self._looked_s = -LOOK_EVERY_S

    @property
    def is_able(self) -> bool:
        """Whether this worker has a detector that works, as far as it knows."""
        return self._detector.is_able

    def capability(self) -> dict[str, Any]:
        """Return what the worker's row says of detecting."""
        return ability(detector=self._detector.name if self.is_able else None, reason=self._detector.why_not)

    def wake(self, *, at_most_every_s: float = 0.0) -> None:
        """Have the thread look for photos, unless it looked a moment ago."""
        if not self.is_able or self._is_draining or monotonic() - self._looked_s < at_most_every_s:
            return
        self._looked_s = monotonic()
        self._woken.set()

    def is_busy(self) -> bool:
        """Tell whether a photo is being looked at, or for one."""
        return self._woken.is_set() or self._is_working

    def begin_drain(self) -> None:
        """Claim nothing more. Called from a signal handler, so it takes no lock."""
        self._is_draining = True

    def end(self, *, within_s: float) -> bool:
        """End the thread; False when it is still in the detector after so long. The claim is given back before."""
        self._is_draining = True
        self._leaving.set()
        self._woken.set()
        if self.is_alive():
            self.join(within_s)
        return not self.is_alive()

    def give_back(self, *, crash: bool = False) -> int:
        """Return a photo that is still being looked at to the queue; return how many. Raises DatabaseAway.

        crash: the card broke meanwhile, and the photo may have done it.
        """
        held = self._desk.detection()
        if held is None:
            return 0
        photo = held.claim
        with self._announcer.writing(Act.COMMIT_RETURN) as session:
            done = return_lost(session, None, {photo.item_id: photo.attempt}, crash=crash, now=database_now(session))
        self._desk.drop_detection(photo)
        for key in let_go_photos(session):
            self._delete_photo(key)
        self._announcer.ring(photo.item_id, times=1)
        return done.requeued

    def end_overdue(self) -> None:
        """Give up a detector that hangs: its photo is failed, and this worker takes no other. Raises DatabaseAway."""
        held = self._desk.detection()
        if held is None or not held.is_overdue or not self._desk.drop_detection(held.claim):
            return
        self._detector.lose(f"it hung for {DETECT_S:.0f} s; restart the worker")
        self._fail(held.claim, NoPose("detector_hung", BROKEN_MESSAGE))

    def run(self) -> None:
        """Look at photos whenever woken, until ended."""
        while not self._leaving.is_set():
            self._woken.wait()
            self._is_working = True
            self._woken.clear()
            try:
                while self.is_able and not self._is_draining and self._look_at_one():
                    pass
            except DatabaseAway:
                log.warning("detect.database_away")
            except Exception:  # this thread's outermost frame: a photo it held lapses and is looked at again
                log.exception("detect.broke")
            finally:
                self._is_working = False
                self._desk.notify()

    def _look_at_one(self) -> bool:
        """Claim a photo and bring it to its end. False when none waits."""
        claim = self._claim()
        if claim is None:
            return False
        self._desk.take_detection(claim, within_s=DETECT_S)
        try:
            self._bring_to_its_end(claim)
        except CardFailed as error:  # the photo stays on the desk, for whoever ends this process to return
            self._is_draining = True
            self._on_card_failure(error)
            return False
        except BaseException:
            self._desk.drop_detection(claim)
            raise
        self._desk.drop_detection(claim)
        return True

    def _bring_to_its_end(self, claim: DetectionClaim) -> None:
        began = monotonic()
        try:
            pose = self._pose_of(claim)
        except NoPose as no_pose:
            self._fail(claim, no_pose)
        else:
            if self._end(claim, pose):
                log.info("detect.finished", item_id=claim.item_id, detect_s=round(monotonic() - began, 3))

    def _claim(self) -> DetectionClaim | None:
        with self._announcer.database.reading() as session:
            if waiting_detection(session) is None:
                return None  # nearly always: no write, so no lock on SQLite
        with self._announcer.writing(Act.COMMIT_CLAIM) as session:
            return claim_detection(
                session, worker=self._claimant.worker, lease_s=self._claimant.lease_s, now=database_now(session)
            )

    def _pose_of(self, claim: DetectionClaim) -> dict[str, Any]:
        """Return the photo's key-points as an OpenPose document. Raises NoPose or CardFailed."""
        photo = self._photo(claim)
        try:
            pose = pose_of(self._detector.people(photo), photo.size)
        except CardFailed:
            raise
        except DetectorLost as error:
            raise NoPose(DetectorFailed.code, UNUSABLE_MESSAGE) from error
        except (DetectorFailed, PoseError) as error:
            log.warning("detect.failed", item_id=claim.item_id, reason=str(error))
            raise NoPose(error.code, BROKEN_MESSAGE) from error
        except Exception as error:  # a detector is somebody else's code: no surprise of its may end this thread
            log.exception("detect.surprise", item_id=claim.item_id)
            raise NoPose(DetectorFailed.code, BROKEN_MESSAGE) from error
        if pose is None:
            raise NoPose("nobody_found", NOBODY_MESSAGE)
        return pose_to_openpose(pose)

    def _photo(self, claim: DetectionClaim) -> Image.Image:
        try:
            content = b""
            for attempt in self._tries(StorageAway, STORE_S):
                with attempt:
                    content = self._storage.get(claim.photo_key)
            return _flat(Image.open(BytesIO(content)))
        except (NotFound, StorageAway, OSError) as error:
            log.warning("detect.no_photo", item_id=claim.item_id, reason=str(error))
            raise NoPose(StorageAway.code, STORAGE_MESSAGE) from error

    def _fail(self, claim: DetectionClaim, no_pose: NoPose) -> None:
        if self._end(claim, no_pose):
            log.info("detect.no_pose", item_id=claim.item_id, code=no_pose.code)

    def _end(self, claim: DetectionClaim, outcome: dict[str, Any] | NoPose) -> bool:
        """Write the outcome, then delete the photo. False when the claim was lost: then the photo is another's."""
        won = False
        for attempt in self._tries(DatabaseAway, DATABASE_S):
            with attempt, self._announcer.writing(Act.COMMIT_DELIVERY) as session:
                now = database_now(session)
                if isinstance(outcome, NoPose):
                    won = fail_detection(session, claim, code=outcome.code, message=str(outcome), now=now)
                else:
                    won = finish_detection(session, claim, outcome, now=now)
        if not won:
            log.info("detect.claim_lost", item_id=claim.item_id, attempt=claim.attempt)
            return False
        self._delete_photo(claim.photo_key)
        return True

    def _delete_photo(self, photo_key: str) -> None:
        try:
            self._storage.delete(photo_key)
        except StorageAway:
            log.warning("storage.leftover", key=photo_key)

    def _tries(self, trouble: type[PosegenError], timeout_s: float) -> Iterable[stamina.Attempt]:
        def passes(error: Exception) -> bool:
            return isinstance(error, trouble) and not self._leaving.is_set()

        return stamina.retry_context(on=passes, attempts=None, timeout=timeout_s, wait_max=3.0)


def pose_of(people: Sequence[FoundPerson], size: tuple[int, int]) -> Pose | None:
    """Return people in pixels of a photo of this width and height as a pose; None for nobody.

    Points outside of the photo are kept as far as a pose reaches; beyond that they are missing. Of more people than a
    pose holds the first ones are taken.
    """
    shown = [person for found in people if (person := _person(found, size)) is not None]
    return Pose(people=tuple(shown[:MAX_PEOPLE]), aspect=size[0] / size[1]) if shown else None


def _person(found: FoundPerson, size: tuple[int, int]) -> Person | None:
    body = _points(found.body, size)
    if body is None or not any(body):
        return None
    face = _points(found.face, size)
    if face is not None:
        face += (None,) * (FACE_POINTS - len(face))  # a face of 68 points has no pupils
    return Person(
        body=body, hand_left=_points(found.hand_left, size), hand_right=_points(found.hand_right, size), face=face
    )


def _points(part: Sequence[FoundPoint | None] | None, size: tuple[int, int]) -> Points | None:
    if part is None:
        return None
    return tuple(None if point is None else _key_point(point, size) for point in part)


def _key_point(point: FoundPoint, size: tuple[int, int]) -> KeyPoint | None:
    x, y = point.x_px / size[0], point.y_px / size[1]
    if not all(LEAST_COORDINATE <= place <= MOST_COORDINATE for place in (x, y)):
        return None  # not a number is outside too
    return KeyPoint(x, y, min(point.c, 1.0)) if point.c > 0 else None


def _flat(photo: Image.Image) -> Image.Image:
    """Return the photo in RGB; what is transparent becomes white, not what lies hidden under it."""
    if photo.mode == "RGBA":
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")
