"""Photos that become poses: a work item of the kind `detect`, from the upload to its key-points. Free of charge.

It is held, fenced and healed as a picture is (posegen.leases, posegen.recovery), but belongs to no generation, has a
profile of its own so that no line of pictures meets it, and touches no ledger. A worker looks at one photo at a time.
The photo is deleted as soon as its detection is final; a file that a crash leaves behind is named by no row any more.
Nothing here commits; who moves a detection to a final state gets the photo's key and deletes the file afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models.detectors.weights import what_to_fetch
from posegen.errors import Conflict, NoDetector, NotFound
from posegen.identifiers import new_id
from posegen.leases import held_by
from posegen.statuses import DetectionStatus, ItemKind, ItemStatus
from posegen.storage import Storage
from posegen.tables import WorkerRow, WorkItem
from posegen.uploads import Photo
from posegen.workforce import live_workers

DETECT_PROFILE = "detect"
"""Stands where a picture has the profile that draws it: every line of pictures names a profile, so none sees these."""
MOST_RINGS = 16
MOST_OPEN = 10
"""Of one user: photos are looked at one by one in the order they came, so nobody may bring hundreds before others."""
WAITS_FOR = timedelta(hours=1)
"""After this a photo that no worker took is given up: its customer has gone, and the photo should too."""
KEPT_FOR = timedelta(days=1)
"""So long key-points can be read after they were found."""
NOBODY_CAME = "No worker could look at this photo in time; please upload it again later."
GIVEN_UP = "This photo made the worker stop several times and was given up; please try another one."
_PHOTO_KEY = "photoKey"
_LET_GO = "let_go_photos"
_STATUSES: Mapping[str, DetectionStatus] = {
    ItemStatus.QUEUED: DetectionStatus.QUEUED,
    ItemStatus.DRAWING: DetectionStatus.PROCESSING,
    ItemStatus.COMPLETED: DetectionStatus.COMPLETED,
    ItemStatus.FAILED: DetectionStatus.FAILED,
    ItemStatus.CANCELLED: DetectionStatus.FAILED,  # nothing cancels one today
}
_OURS = (WorkItem.profile == DETECT_PROFILE, WorkItem.kind == ItemKind.DETECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPhoto:
    """A checked photo that lies in the store; no row names it yet."""

    key: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A detection as its customer reads it. `pose` is an OpenPose document once there is one."""

    id: str
    status: DetectionStatus
    pose: dict[str, Any] | None
    error_message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionClaim:
    """A photo that this worker holds. `attempt` fences every later write."""

    item_id: str
    attempt: int
    photo_key: str


def store_photo(storage: Storage, user_id: str, photo: Photo) -> StoredPhoto:
    """Write the photo under a key of the user. Raises StorageAway."""
    key = f"users/{sha256(user_id.encode()).hexdigest()[:32]}/detections/{new_id()}.{photo.suffix}"
    storage.put(key, photo.content)
    return StoredPhoto(key=key, width_px=photo.width_px, height_px=photo.height_px)


def require_detector(session: Session, folder: Path, *, now: datetime) -> int:
    """Return how often to ring so that a worker with a detector hears it. Raises NoDetector when none lives.

    folder: where detectors' weights are looked for, so that the error can say what to put there.
    """
    workers = live_workers(session, now=now)
    if not any(can_detect(worker) for worker in workers):
        raise no_detector([f"{worker.name}: {why_not(worker)}" for worker in workers], folder)
    return min(len(workers), MOST_RINGS)  # whoever listens may be one without


def require_room(session: Session, user_id: str) -> None:
    """Raise Conflict when as many photos of the user as may wait are not done yet."""
    open_ = session.execute(
        select(func.count())
        .select_from(WorkItem)
        .where(WorkItem.status.in_((ItemStatus.QUEUED, ItemStatus.DRAWING)), WorkItem.user_id == user_id, *_OURS)
    ).scalar_one()
    if open_ >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} of your photos are still waiting; please upload more when one of them is done.")


def no_detector(reasons: Sequence[str], folder: Path) -> NoDetector:
    """Return the refusal, with what each worker says and what an operator may put into the folder."""
    return NoDetector(reasons or ["no worker is running"], to_do=what_to_fetch(folder))


def place_detection(session: Session, user_id: str, stored: StoredPhoto, *, now: datetime) -> str:
    """Queue a stored photo and return the detection's id. The caller commits, then rings with that id."""
    item = WorkItem(
        kind=ItemKind.DETECT,
        generation_id=None,
        user_id=user_id,
        status=ItemStatus.QUEUED,
        variation_key=DETECT_PROFILE,
        part=DETECT_PROFILE,
        seed=0,
        profile=DETECT_PROFILE,
        width_px=stored.width_px,
        height_px=stored.height_px,
        steps=0,
        guidance=0.0,
        control_scale=0.0,
        control_end=0.0,
        extras={_PHOTO_KEY: stored.key},
        price_credits=0,
        queued_at=now,
        created_at=now,
    )
    session.add(item)
    session.flush()
    return item.id


def detection_of(session: Session, user_id: str, detection_id: str) -> Detection:
    """Return the user's detection. Raises NotFound, also for somebody else's or one that was forgotten."""
    item = session.scalars(
        select(WorkItem).where(WorkItem.id == detection_id, WorkItem.user_id == user_id, *_OURS)
    ).one_or_none()
    if item is None:
        raise NotFound("detection", [detection_id])
    return Detection(id=item.id, status=_STATUSES[item.status], pose=item.people, error_message=item.error_message)


def claim_detection(session: Session, *, worker: str, lease_s: float, now: datetime) -> DetectionClaim | None:
    """Take the photo that waits longest, if any. On PostgreSQL one that another worker is taking is passed over.

    It counts as drawn alone: a crash is counted against it whatever the worker was drawing beside it. So it is given
    up (posegen.recovery) before it can bring a picture beside it, whose first crash is never alone, to as many.
    """
    item = session.scalars(
        select(WorkItem)
        .where(WorkItem.status == ItemStatus.QUEUED, *_OURS)
        .order_by(WorkItem.queued_at, WorkItem.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if item is None:
        return None
    item.status = ItemStatus.DRAWING
    item.attempt += 1
    item.worker = worker
    item.lease_until = now + timedelta(seconds=lease_s)
    item.claimed_at = now
    item.drawn_alone = True
    session.flush()
    return DetectionClaim(item_id=item.id, attempt=item.attempt, photo_key=str((item.extras or {})[_PHOTO_KEY]))


def finish_detection(session: Session, claim: DetectionClaim, pose: dict[str, Any], *, now: datetime) -> bool:
    """Write the key-points, an OpenPose document. False when the claim was lost: nothing changed."""
    return _end(session, claim, {"status": ItemStatus.COMPLETED, "people": pose}, now)


def fail_detection(session: Session, claim: DetectionClaim, *, code: str, message: str, now: datetime) -> bool:
    """Write why there are none. False when the claim was lost: nothing changed. `message` is read by customers."""
    return _end(session, claim, {"status": ItemStatus.FAILED, "error_code": code, "error_message": message}, now)


def give_up_locked(session: Session, item: WorkItem, *, code: str, message: str, now: datetime) -> None:
    """Fail a detection whose row the caller has locked. It lets go of its photo (let_go_photos)."""
    if item.extras is not None:
        session.info.setdefault(_LET_GO, []).append(str(item.extras[_PHOTO_KEY]))
    item.status = ItemStatus.FAILED
    item.finished_at = now
    item.lease_until = None
    item.extras = None
    item.error_code = code
    item.error_message = message


def let_go_photos(session: Session) -> list[str]:
    """Return the keys of photos that this session let go of, for whoever commits to delete them afterwards."""
    return list(session.info.get(_LET_GO, []))


def waiting_detection(session: Session) -> str | None:
    """Return the detection that waits longest, if any."""
    return session.scalars(
        select(WorkItem.id)
        .where(WorkItem.status == ItemStatus.QUEUED, *_OURS)
        .order_by(WorkItem.queued_at, WorkItem.id)
        .limit(1)
    ).one_or_none()


def prune_detections(session: Session, *, now: datetime) -> None:
    """Give up photos that nobody took within WAITS_FOR, and forget what became final KEPT_FOR ago."""
    late = session.scalars(
        select(WorkItem)
        .where(WorkItem.status == ItemStatus.QUEUED, *_OURS, WorkItem.queued_at < now - WAITS_FOR)
        .order_by(WorkItem.id)
        .limit(200)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    for item in late:
        give_up_locked(session, item, code="nobody_came", message=NOBODY_CAME, now=now)
    session.flush()
    session.execute(
        delete(WorkItem)
        .where(
            WorkItem.status.in_((ItemStatus.COMPLETED, ItemStatus.FAILED)),
            *_OURS,
            WorkItem.finished_at < now - KEPT_FOR,
        )
        .execution_options(synchronize_session=False)
    )


def ability(*, detector: str | None, reason: str | None) -> dict[str, Any]:
    """Return what a worker's row says of detecting: with which detector, or why not."""
    return {"detector": detector, "reason": reason}


def detector_of(worker: WorkerRow) -> str | None:
    """Return the detector that a worker says it has."""
    name = _said(worker).get("detector")
    return str(name) if name else None


def can_detect(worker: WorkerRow) -> bool:
    """Tell whether a worker says that it has a detector."""
    return detector_of(worker) is not None


def why_not(worker: WorkerRow) -> str:
    """Return why a worker has no detector, in its own words."""
    return str(_said(worker).get("reason") or "is starting")


def _said(worker: WorkerRow) -> Mapping[str, Any]:
    said = worker.capabilities.get("detect")
    return said if isinstance(said, Mapping) else {}


def _end(session: Session, claim: DetectionClaim, values: Mapping[str, Any], now: datetime) -> bool:
    won = session.execute(
        update(WorkItem)
        .where(held_by(claim.item_id, claim.attempt))
        .values(finished_at=now, lease_until=None, extras=None, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(won.rowcount)  # type: ignore[attr-defined]
