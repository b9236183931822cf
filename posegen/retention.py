"""Forgetting old generations, when the studio says so (KEEP_GENERATIONS). By default everything is kept for ever.

A generation is kept or forgotten whole, so that what is still there always adds up: its pictures, work items and row
go in one transaction, its files after the commit (what a crash leaves of them is swept). A generation with a favourite
stays. The ledger stays as it is: nothing that was paid is ever forgotten.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, select, tuple_, update
from sqlalchemy.orm import Session

from posegen.crash_points import Act
from posegen.database import Database, database_now
from posegen.statuses import FINAL_GENERATION_STATUSES, OPEN_ITEM_STATUSES
from posegen.storage import Storage
from posegen.tables import ForgottenGeneration, GeneratedPicture, Generation, StoredObject, WorkItem

log = structlog.get_logger()

_GENERATIONS_PER_PAGE = 50


@dataclass(slots=True)
class Pruned:
    """What was forgotten so far."""

    generations: int = 0
    files: int = 0


def prune_generations(
    database: Database, storage: Storage, pruned: Pruned, *, keep: timedelta, dry_run: bool = False
) -> Iterator[None]:
    """Forget generations that became final longer ago than `keep`, or only count them; yields after each one.

    Safe beside everything else and beside another pruning. Raises DatabaseAway and StorageAway.
    """
    with database.reading() as session:
        before = database_now(session) - keep
    last: tuple[datetime, str] | None = None
    while True:
        with database.reading() as session:
            page = _old_generations(session, before, after=last)
        if not page:
            return
        for created_at, generation_id in page:
            last = (created_at, generation_id)
            if dry_run:
                pruned.generations += 1
                continue
            with database.writing(Act.COMMIT_UPKEEP) as session:
                keys = forget_generation(session, generation_id, before=before)
            if keys is not None:
                pruned.generations += 1
                pruned.files += len(keys)
                log.info("generation.forgotten", generation_id=generation_id, files=len(keys))
                for key in keys:
                    storage.delete(key)
            yield


def forget_generation(session: Session, generation_id: str, *, before: datetime) -> list[str] | None:
    """Delete a generation's rows and return the keys of its files, for after the commit; None when it is to stay.

    It stays while it has a favourite or anything open, or when it became final only after `before`.
    """
    generation = session.scalars(
        select(Generation)
        .where(Generation.id == generation_id, _may_go(before))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if generation is None:
        return None
    # Locked, so that nobody makes a favourite of what is being deleted; found by another transaction afterwards.
    pictures = session.scalars(
        select(GeneratedPicture)
        .where(GeneratedPicture.generation_id == generation_id)
        .order_by(GeneratedPicture.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if any(picture.is_favorite for picture in pictures):
        return None
    keys = sorted({key for picture in pictures for key in _keys_of(picture)})
    repeats = _locked_repeats(session, generation_id)
    session.add(_remnant(generation, database_now(session)))
    session.flush()
    for table, condition in (
        (GeneratedPicture, GeneratedPicture.generation_id == generation_id),
        (WorkItem, WorkItem.generation_id == generation_id),
        (Generation, Generation.id == generation_id),
        (StoredObject, StoredObject.key.in_(keys)),
    ):
        session.execute(delete(table).where(condition).execution_options(synchronize_session=False))
    for item_id, repeated in repeats:
        repeat = update(WorkItem).where(WorkItem.id == item_id).values(retry_of=repeated)
        session.execute(repeat.execution_options(synchronize_session=False))
    return keys


def _locked_repeats(session: Session, generation_id: str) -> list[tuple[str, str | None]]:
    """Lock the generation's items, and those that repeat one; return the latter, each with what it repeats from now on.

    That is what the forgotten item repeated: or else the picture at the beginning of that chain would look as if nobody
    had ordered it again, and be paid for once more.
    """
    # By id, as everybody locks items; the repeats afterwards, for a retry that held an item may just have made one.
    own = session.execute(
        select(WorkItem.id, WorkItem.retry_of)
        .where(WorkItem.generation_id == generation_id)
        .order_by(WorkItem.id)
        .with_for_update()
    ).all()
    repeated = {row[0]: row[1] for row in own}
    again = session.execute(
        select(WorkItem.id, WorkItem.retry_of)
        .where(WorkItem.retry_of.in_(repeated))
        .order_by(WorkItem.id)
        .with_for_update(key_share=True)
    ).all()
    return [(item_id, repeated[repeats]) for item_id, repeats in again if repeats is not None]


def _remnant(generation: Generation, now: datetime) -> ForgottenGeneration:
    """Return what the books need to know of a generation that is gone."""
    undelivered = generation.poses_failed + generation.poses_cancelled
    return ForgottenGeneration(
        id=generation.id,
        user_id=generation.user_id,
        credit_charged=generation.credit_charged,
        credit_refunded=generation.credit_refunded,
        quota_day=generation.quota_day,
        quota_kept=generation.quota_charged - undelivered if generation.quota_charged else 0,
        forgotten_at=now,
    )


def _old_generations(
    session: Session, before: datetime, *, after: tuple[datetime, str] | None
) -> list[tuple[datetime, str]]:
    old = select(Generation.created_at, Generation.id).where(Generation.created_at < before, _may_go(before))
    if after is not None:
        old = old.where(tuple_(Generation.created_at, Generation.id) > after)
    rows = session.execute(old.order_by(Generation.created_at, Generation.id).limit(_GENERATIONS_PER_PAGE))
    return [(row[0], row[1]) for row in rows]


def _may_go(before: datetime) -> ColumnElement[bool]:
    liked = exists().where(GeneratedPicture.generation_id == Generation.id, GeneratedPicture.is_favorite.is_(True))
    is_open = exists().where(WorkItem.generation_id == Generation.id, WorkItem.status.in_(OPEN_ITEM_STATUSES))
    return and_(Generation.status.in_(FINAL_GENERATION_STATUSES), Generation.completed_at < before, ~liked, ~is_open)


def _keys_of(picture: GeneratedPicture) -> Iterator[str]:
    for key in (picture.output_key, picture.thumbnail_key, picture.original_key, *picture.export_keys.values()):
        if isinstance(key, str):
            yield key
