"""Healing: what a dead worker held goes back to the queue, and whatever is queued is rung for.

Runs in every API process every few seconds, at a worker's start, before each claim, and as `posegen recover`. It needs
no leader: every change is conditional, so two at once do the work once.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from posegen.events import prune_events
from posegen.finishing import fail_locked, locked_generation
from posegen.leases import lapsed_items
from posegen.statuses import ItemStatus
from posegen.tables import WorkItem
from posegen.workforce import dead_since, prune_workers

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

    A lapse counts as a crash only if its worker fell silent while the caller was in unbroken touch with the database
    (`witness_since`, None for a caller that just came): otherwise it may have been the database that was away.
    """
    requeued = failed = 0
    # Ids first, locks after: a generation is locked before its items, here as everywhere.
    for item_id, generation_id in lapsed_items(session, now=now):
        generation = locked_generation(session, generation_id) if generation_id else None
        item = session.get(WorkItem, item_id, with_for_update={"key_share": True}, populate_existing=True)
        if item is None or item.status != ItemStatus.DRAWING or item.lease_until is None or item.lease_until >= now:
            continue
        _count_crash(session, item, witness_since, now)
        item.lease_until = None
        if generation is not None and item.alone_crashes >= CRASHES_ALONE:
            item.status = ItemStatus.FAILED
            item.finished_at = now
            fail_locked(session, generation, item, code="crashed_worker", message=GIVEN_UP_MESSAGE, now=now)
            failed += 1
        else:
            item.status = ItemStatus.QUEUED
            item.worker = None
            requeued += 1
        session.flush()
    return Recovered(requeued=requeued, failed=failed)


def prune(session: Session, *, now: datetime) -> None:
    """Delete events and worker rows that nobody can need any more."""
    prune_events(session, now=now)
    prune_workers(session, now=now)


def _count_crash(session: Session, item: WorkItem, witness_since: datetime | None, now: datetime) -> None:
    if witness_since is None or item.worker is None:
        return
    silent_since = dead_since(session, item.worker, now=now)
    if silent_since is not None and witness_since <= silent_since:
        item.crashes += 1
        item.alone_crashes += int(item.drawn_alone)
