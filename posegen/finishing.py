"""How a picture becomes final: delivered, failed and refunded, or cancelled and refunded. Each in one transaction.

Every one starts by locking the generation, then wins or loses the item by its fence, then counts at the project and
the pose, then touches the user: the lock order of the whole house. An order takes the same road (its project, then
its user). The refund, the counters and the event are in the transaction that decides.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from posegen import ledger, quota
from posegen.errors import Conflict, NotFound
from posegen.estimates import Outlook, outlook_of_generation
from posegen.events import record_event
from posegen.generations import percentage
from posegen.identifiers import seed_of_redraw
from posegen.leases import Claim, held_by
from posegen.statuses import OPEN_ITEM_STATUSES, EventType, GenerationStatus, ItemStatus
from posegen.tables import GeneratedPicture, Generation, LibraryPose, Project, StoredObject, WorkItem
from posegen.tallies import FINAL, REFUNDED, REFUNDS, happened


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is already in the picture store."""

    key: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPicture:
    """What a worker hands in for a claim: the stored files and how the picture was made.

    pose_score: 0..1, how closely it holds the pose that was wanted (posegen.poses.scoring); None: not judged.
    """

    output: StoredFile
    thumbnail: StoredFile
    backend: str
    pose_applied: bool
    licence: str
    generation_time_s: float
    worker: str
    pose_score: float | None = None


def mark_started(session: Session, generation_id: str, *, now: datetime) -> bool:
    """Note that the first picture of a generation is being drawn, and tell the user; only the first caller wins.

    False for a generation that is final: it may have been cancelled since its picture was claimed.
    Locks the generation and the user: not for a transaction that has claimed items (they come between the two).
    """
    user_id = session.execute(
        update(Generation)
        .where(
            Generation.id == generation_id,
            Generation.started_at.is_(None),
            Generation.status == GenerationStatus.PROCESSING,
        )
        .values(started_at=now)
        .returning(Generation.user_id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if user_id is None:
        return False
    record_event(session, user_id, generation_id, EventType.STARTED, {"message": "Drawing has begun."}, now=now)
    return True


def deliver_picture(
    session: Session, claim: Claim, picture: DrawnPicture, *, outlook: Outlook | None = None, now: datetime
) -> bool:
    """Deliver a drawn picture. False when the claim was lost (cancelled, or drawn by another): nothing changed.

    Of a picture that was drawn more than once, the claim is that of the drawing which is delivered.
    outlook: read just before, in a transaction that nobody waits for; without one it is read here.
    """
    generation = locked_generation(session, claim.generation_id)
    if generation is None:
        return False
    item = _take(session, claim, ItemStatus.COMPLETED, now)
    if item is None:
        return False
    for file in (picture.output, picture.thumbnail):
        session.add(
            StoredObject(key=file.key, content_type=file.content_type, size_bytes=file.size_bytes, created_at=now)
        )
    item.redraw = claim.redraw
    row = _picture_row(item, GenerationStatus.COMPLETED, now)
    row.output_key = picture.output.key
    row.thumbnail_key = picture.thumbnail.key
    row.backend = picture.backend
    row.pose_applied = picture.pose_applied
    row.licence = picture.licence
    row.generation_time_s = picture.generation_time_s
    row.ai_confidence_score = picture.pose_score
    row.worker = picture.worker
    session.add(row)
    happened(session, FINAL, state=ItemStatus.COMPLETED)
    generation.poses_completed += 1
    generation.drawing_s += picture.generation_time_s
    session.execute(
        update(Project)
        .where(Project.id == generation.project_id)
        .values(total_poses_generated=Project.total_poses_generated + 1)
        .execution_options(synchronize_session=False)
    )
    if item.pose_id is not None:
        session.execute(
            update(LibraryPose)
            .where(LibraryPose.id == item.pose_id)
            .values(usage_count=LibraryPose.usage_count + 1)
            .execution_options(synchronize_session=False)
        )
    session.flush()
    mark_started(session, generation.id, now=now)  # locks the user, so it comes after the project and the pose
    _tell_final(session, generation, row, outlook, now)
    return True


def is_stored(session: Session, key: str) -> bool:
    """Tell whether a delivered picture names this file. Keys hold the attempt, so this is about one attempt only."""
    return session.get(StoredObject, key) is not None


def fail_picture(session: Session, claim: Claim, *, code: str, message: str, now: datetime) -> bool:
    """Fail a picture and refund it. False when the claim was lost: nothing changed. `message` is read by customers."""
    generation = locked_generation(session, claim.generation_id)
    if generation is None:
        return False
    item = _take(session, claim, ItemStatus.FAILED, now)
    if item is None:
        return False
    fail_locked(session, generation, item, code=code, message=message, now=now)
    return True


def fail_locked(
    session: Session, generation: Generation, item: WorkItem, *, code: str, message: str, now: datetime
) -> None:
    """Write and refund the failure of an item whose generation and row the caller has locked and moved to failed."""
    item.error_code = code
    item.error_message = message
    row = _picture_row(item, GenerationStatus.FAILED, now)
    row.error_message = message
    session.add(row)
    generation.poses_failed += 1
    happened(session, FINAL, state=ItemStatus.FAILED)
    _refund(session, generation, item, "could not be drawn", now)
    session.flush()
    _tell_final(session, generation, row, None, now)


def cancel_generation(session: Session, generation_id: str, user_id: str, *, now: datetime) -> Generation:
    """Stop what has not been delivered and refund exactly that. Raises NotFound, or Conflict when it is final already.

    Drawing pictures leave their engine at its next step; whoever finishes one now loses the fence.
    """
    generation = session.scalars(
        select(Generation)
        .where(Generation.id == generation_id, Generation.user_id == user_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if generation is None:
        raise NotFound("generation", [generation_id])
    if generation.status == GenerationStatus.CANCELLED:
        return generation
    if generation.status != GenerationStatus.PROCESSING:
        raise Conflict(f"This generation is {generation.status}; there is nothing left to cancel.")
    items = session.scalars(
        select(WorkItem)
        .where(WorkItem.generation_id == generation_id, WorkItem.status.in_(OPEN_ITEM_STATUSES))
        .order_by(WorkItem.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    for item in items:
        item.status = ItemStatus.CANCELLED
        item.lease_until = None
        item.finished_at = now
        generation.poses_cancelled += 1
        happened(session, FINAL, state=ItemStatus.CANCELLED)
        _refund(session, generation, item, "was cancelled", now)
    generation.status = GenerationStatus.CANCELLED
    generation.completed_at = now
    session.flush()
    told = {**_counts(generation), "creditRefunded": generation.credit_refunded}
    record_event(session, generation.user_id, generation.id, EventType.CANCELLED, told, now=now)
    return generation


def locked_generation(session: Session, generation_id: str) -> Generation | None:
    """Return the generation, locked: the first lock of every transaction that makes a picture final.

    None when it was forgotten since (posegen.retention): whoever held a picture of it lost it long ago.
    """
    return session.scalars(
        select(Generation)
        .where(Generation.id == generation_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _take(session: Session, claim: Claim, status: ItemStatus, now: datetime) -> WorkItem | None:
    """Move the item if this claim still holds it, and return it; None when somebody else was first."""
    won = session.execute(
        update(WorkItem)
        .where(held_by(claim.item_id, claim.attempt))
        .values(status=status, finished_at=now, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        return None
    return session.get(WorkItem, claim.item_id, populate_existing=True)


def _picture_row(item: WorkItem, status: GenerationStatus, now: datetime) -> GeneratedPicture:
    return GeneratedPicture(
        generation_id=item.generation_id,
        work_item_id=item.id,
        user_id=item.user_id,
        pose_library_id=item.pose_id,
        variation_key=item.variation_key,
        status=status.value,
        prompt_used=item.prompt,
        seed_used=seed_of_redraw(item.seed, item.redraw),
        controlnet_weight=item.control_scale,
        loras=item.loras,
        width_px=item.width_px,
        height_px=item.height_px,
        created_at=now,
    )


def _refund(session: Session, generation: Generation, item: WorkItem, why: str, now: datetime) -> None:
    if item.unlimited and generation.quota_day is not None:
        quota.give_back(session, generation.user_id, taken_on=generation.quota_day)
    generation.credit_refunded += item.price_credits
    happened(session, REFUNDS)
    happened(session, REFUNDED, item.price_credits)
    ledger.refund(
        session,
        generation.user_id,
        item.price_credits,
        reference=generation.id,
        part=item.part,
        description=f"Picture {item.variation_key} {why}",
        now=now,
    )


def _counts(generation: Generation) -> dict[str, Any]:
    return {
        "completed": generation.poses_completed,
        "failed": generation.poses_failed,
        "total": generation.total_expected_poses,
    }


def _tell_final(
    session: Session, generation: Generation, row: GeneratedPicture, outlook: Outlook | None, now: datetime
) -> None:
    """Record pose_completed and progress, and close the generation when this was its last picture."""
    tell = _Teller(session, generation, now)
    tell(
        EventType.POSE_COMPLETED,
        {
            "poseId": row.id,
            "poseLibraryId": row.pose_library_id,
            "variationKey": row.variation_key,
            "outputKey": row.output_key,
            "thumbnailKey": row.thumbnail_key,
            "poseScore": row.ai_confidence_score,
            "aiConfidenceScore": row.ai_confidence_score,
            "status": row.status,
            "errorMessage": row.error_message,
        },
    )
    done = generation.poses_completed + generation.poses_failed
    left = generation.total_expected_poses - done - generation.poses_cancelled
    if outlook is None:
        outlook = outlook_of_generation(session, generation.id, now=now)
    progress = {
        **_counts(generation),
        "percentage": percentage(generation),
        "estimatedTimeRemaining": outlook.remaining_s(left),
    }
    tell(EventType.PROGRESS, progress)
    if left:
        return
    generation.completed_at = now
    if generation.poses_completed:
        generation.status = GenerationStatus.COMPLETED
        tell(EventType.COMPLETED, {**_counts(generation), "creditRefunded": generation.credit_refunded})
    else:
        generation.status = GenerationStatus.FAILED
        generation.error_message = row.error_message
        tell(EventType.FAILED, {"error": row.error_message, "creditRefunded": generation.credit_refunded})
    session.flush()


@dataclass(frozen=True, slots=True)
class _Teller:
    session: Session
    generation: Generation
    now: datetime

    def __call__(self, type_: EventType, payload: dict[str, Any]) -> None:
        record_event(self.session, self.generation.user_id, self.generation.id, type_, payload, now=self.now)
