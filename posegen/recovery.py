"""Healing: what a dead worker held goes back to the queue, and whatever is queued is rung for.

Runs in every API process and every worker every few seconds, and as `posegen recover` (posegen.reconciler). It needs no
leader: every change is conditional, so two at once do the work once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from posegen.detections import GIVEN_UP, give_up_locked, prune_detections
from posegen.events import prune_events
from posegen.finishing import fail_locked, locked_generation
from posegen.idempotency import prune_keys
from posegen.leases import lapsed_items
from posegen.statuses import ItemStatus
from posegen.tables import Generation, WorkItem
from posegen.tallies import RETURNED, happened
from posegen.workforce import LastSeen, last_seen, prune_workers

SILENT_FOR = timedelta(seconds=7)
"""A worker that let a lease lapse and was not heard for so long (two heartbeats and some) died; before, it may speak
again. So pictures come back after this long at the earliest, however short the lease, unless its death is proven."""
WITNESS_FIRST = timedelta(seconds=5)
"""So long a lapse that looks like a crash is left to those who can tell; then it is returned without being counted."""
CRASHES_ALONE = 3
"""A picture during which a worker died this often while it was drawn alone is given up and refunded."""
GIVEN_UP_MESSAGE = "This picture made the worker stop several times and was given up; its credits are back."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What one round healed: pictures returned to the queue, and pictures given up and refunded."""

    requeued: int
    failed: int


def return_lapsed(session: Session, *, witness_since: datetime | None, now: datetime) -> Recovered:
    """Return items whose lease lapsed to the queue; give up those that killed three workers on their own.

    Those of a worker that is known to be dead are returned at once, and it is a crash. Any other lapse counts as one
    only if its worker fell silent while the caller was in unbroken touch with the database (`witness_since`, None for
    a caller that just came): otherwise it may have been the database that was away.

    It visits many generations in one transaction, so it never waits for a lock: whatever is locked now is left to
    the next round. A refund locks a user, the last lock of any transaction: a round ends with the first picture it
    gives up, and the caller commits and goes on while `failed` is not 0.
    """
    requeued = failed = 0
    for item_id, generation_id in lapsed_items(session, now=now):
        generation = _free_generation(session, generation_id) if generation_id else None
        if generation is None and generation_id is not None:
            continue  # before its items are touched, or two rounds would take them from each other
        item = _free_item(session, item_id)
        if item is None or item.status != ItemStatus.DRAWING or item.lease_until is None:
            continue
        worker = last_seen(session, item.worker) if item.worker is not None else None
        if item.lease_until >= now and (worker is None or not worker.is_dead):
            continue
        crash = _saw_crash(worker, item.lease_until, witness_since, now)
        if crash is None:
            continue
        if _return_or_give_up(session, generation, item, crash=crash, now=now):
            requeued += 1
            continue
        failed += 1
        if generation is not None:
            break
    return Recovered(requeued=requeued, failed=failed)


def return_lost(
    session: Session, generation_id: str | None, held: Mapping[str, int], *, crash: bool, now: datetime
) -> Recovered:
    """Return what a worker lost with its engine, before it ends: attempts by item id, of one generation or of none.

    With `crash` each may have caused it, and counts it as when its worker dies (`return_lapsed`). Waits for locks, and
    takes them as everybody does: the generation, its items by id, then its user.
    """
    generation = locked_generation(session, generation_id) if generation_id is not None else None
    items = session.scalars(
        select(WorkItem)
        .where(WorkItem.id.in_(sorted(held)), WorkItem.status == ItemStatus.DRAWING)
        .order_by(WorkItem.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    ours = [item for item in items if item.attempt == held[item.id]]
    requeued = sum(_return_or_give_up(session, generation, item, crash=crash, now=now) for item in ours)
    return Recovered(requeued=requeued, failed=len(ours) - requeued)


def _return_or_give_up(
    session: Session, generation: Generation | None, item: WorkItem, *, crash: bool, now: datetime
) -> bool:
    """Queue a locked item again; False: it was given up, for it killed three workers on its own."""
    item.crashes += int(crash)
    item.alone_crashes += int(crash and item.drawn_alone)
    item.lease_until = None
    if item.alone_crashes < CRASHES_ALONE:
        item.status = ItemStatus.QUEUED
        item.worker = None
        happened(session, RETURNED, reason="crash" if crash else "lapse")
    elif generation is None:
        give_up_locked(session, item, code="crashed_worker", message=GIVEN_UP, now=now)
    else:
        item.status = ItemStatus.FAILED
        item.finished_at = now
        fail_locked(session, generation, item, code="crashed_worker", message=GIVEN_UP_MESSAGE, now=now)
    session.flush()
    return item.status == ItemStatus.QUEUED


def prune(session: Session, *, now: datetime) -> None:
    """Delete events, Idempotency-Keys, detections and worker rows that nobody can need any more."""
    prune_events(session, now=now)
    prune_keys(session, now=now)
    prune_detections(session, now=now)
    prune_workers(session, now=now)


def _free_generation(session: Session, generation_id: str) -> Generation | None:
    return session.get(
        Generation, generation_id, with_for_update={"key_share": True, "skip_locked": True}, populate_existing=True
    )


def _free_item(session: Session, item_id: str) -> WorkItem | None:
    return session.get(
        WorkItem, item_id, with_for_update={"key_share": True, "skip_locked": True}, populate_existing=True
    )


def _saw_crash(
    worker: LastSeen | None, lease_until: datetime, witness_since: datetime | None, now: datetime
) -> bool | None:
    """Tell whether the end of a lease was a crash of its worker; None while it is too early, or another may know."""
    if worker is None or worker.is_leaving or worker.heard > lease_until:
        return False
    if worker.is_dead:
        return True
    silent = worker.heard + SILENT_FOR
    if now < silent:
        return None
    if witness_since is not None and witness_since <= worker.heard:
        return True
    return None if now - max(lease_until, silent) < WITNESS_FIRST else False
