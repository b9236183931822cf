"""Who holds which picture, and what happens when the holder dies.

A claim is SQL: status drawing, attempt + 1, a lease by the database's clock. Whoever writes for an item names the
attempt it holds, so a ghost that wakes up after its lease was taken over cannot write. Nothing here commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, select, update
from sqlalchemy.orm import Session

from posegen.queueing import Candidate, Room, choose
from posegen.statuses import ItemKind, ItemStatus
from posegen.tables import User, WorkItem

CANDIDATES_PER_ROW = 4
"""Read so many candidates per free row, since other workers may lock some of them first."""
LEAST_CANDIDATES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One picture this worker holds, with everything it takes to draw it. `attempt` fences every later write."""

    item_id: str
    attempt: int
    kind: str
    generation_id: str
    user_id: str
    variation_key: str
    pose_id: str | None
    people: dict[str, Any] | None
    prompt: str
    seed: int
    redraw: int
    width_px: int
    height_px: int
    steps: int
    guidance: float
    control_scale: float
    control_end: float
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """The worker that asks: its name, the one profile it draws, and how long it wants to hold what it takes."""

    worker: str
    profile: str
    lease_s: float


def claim_items(session: Session, claimant: Claimant, room: Room, *, now: datetime) -> list[Claim]:
    """Take the best queued pictures for the room the engine has; see posegen.queueing for the rule.

    Marks them drawing and their users served. Items whose lease lapsed must have been returned first
    (posegen.recovery). On PostgreSQL rows locked by another claimer are skipped, so fewer may come back.
    """
    candidates = _candidates(session, claimant.profile, max(LEAST_CANDIDATES, CANDIDATES_PER_ROW * room.free_rows))
    chosen = choose(candidates, room, recent_unlimited=_recent_tiers(session), now=now)
    if not chosen:
        return []
    suspects = {candidate.item_id for candidate in chosen if candidate.suspect}
    locked = session.scalars(
        select(WorkItem)
        .where(WorkItem.id.in_([candidate.item_id for candidate in chosen]), WorkItem.status == ItemStatus.QUEUED)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    place = {candidate.item_id: index for index, candidate in enumerate(chosen)}
    claims = []
    for item in sorted(locked, key=lambda item: place[item.id]):
        item.status = ItemStatus.DRAWING
        item.attempt += 1
        item.worker = claimant.worker
        item.lease_until = now + timedelta(seconds=claimant.lease_s)
        item.claimed_at = now
        item.drawn_alone = item.id in suspects
        claims.append(_claim_of(item))
    session.flush()
    _mark_served(session, {claim.user_id for claim in claims}, now)
    return claims


def renew_leases(
    session: Session, worker: str, held: Sequence[tuple[str, int]], *, lease_s: float, now: datetime
) -> set[str]:
    """Prolong the leases of (item id, attempt) pairs; return the ids still held. The rest were taken or cancelled."""
    kept = set()
    for item_id, attempt in sorted(held):
        won = session.execute(
            update(WorkItem)
            .where(_held(item_id, attempt), WorkItem.worker == worker)
            .values(lease_until=now + timedelta(seconds=lease_s))
            .execution_options(synchronize_session=False)
        )
        if won.rowcount:  # type: ignore[attr-defined]
            kept.add(item_id)
    return kept


def give_back(session: Session, item_id: str, attempt: int, *, now: datetime) -> bool:
    """Return an undrawn picture to the queue (a drain, or an engine that refused the batch). No crash is counted."""
    won = session.execute(
        update(WorkItem)
        .where(_held(item_id, attempt))
        .values(status=ItemStatus.QUEUED, lease_until=None, worker=None)
        .execution_options(synchronize_session=False)
    )
    return bool(won.rowcount)  # type: ignore[attr-defined]


def lapsed_items(session: Session, *, now: datetime) -> Sequence[tuple[str, str | None]]:
    """Return (item id, generation id) of items whose lease lapsed, by generation. Nothing is locked."""
    rows = session.execute(
        select(WorkItem.id, WorkItem.generation_id)
        .where(WorkItem.status == ItemStatus.DRAWING, WorkItem.lease_until < now)
        .order_by(WorkItem.generation_id, WorkItem.id)
        .limit(200)
    )
    return [(row[0], row[1]) for row in rows]


def queued_generations(session: Session, *, limit: int = 20) -> list[str]:
    """Return generations with queued pictures, the longest waiting first."""
    rows = session.execute(
        select(WorkItem.generation_id)
        .where(WorkItem.status == ItemStatus.QUEUED, WorkItem.generation_id.is_not(None))
        .group_by(WorkItem.generation_id)
        .order_by(func.min(WorkItem.queued_at))
        .limit(limit)
    )
    return [row[0] for row in rows if row[0] is not None]


def held_by(item_id: str, attempt: int) -> ColumnElement[bool]:
    """Return the fence: this attempt still holds the item."""
    return _held(item_id, attempt)


def _mark_served(session: Session, user_ids: set[str], now: datetime) -> None:
    if not user_ids:
        return
    serving = User.id.in_(sorted(user_ids))
    # Locked in one order, so that two claimers with the same users do not deadlock.
    session.execute(select(User.id).where(serving).order_by(User.id).with_for_update(key_share=True))
    session.execute(update(User).where(serving).values(last_served_at=now).execution_options(synchronize_session=False))


def _held(item_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(WorkItem.id == item_id, WorkItem.attempt == attempt, WorkItem.status == ItemStatus.DRAWING)


def _recent_tiers(session: Session) -> list[bool]:
    rows = session.execute(
        select(WorkItem.unlimited)
        .where(WorkItem.claimed_at.is_not(None))
        .order_by(WorkItem.claimed_at.desc(), WorkItem.id.desc())
        .limit(8)
    )
    return [bool(row[0]) for row in rows]


def _candidates(session: Session, profile: str, limit: int) -> list[Candidate]:
    """Read the heads of the line for each tier and size, users in turn, so that a long order hides nobody."""
    turn = (
        func.row_number()
        .over(partition_by=(WorkItem.unlimited, WorkItem.user_id), order_by=(WorkItem.queued_at, WorkItem.id))
        .label("turn")
    )
    queued = (
        select(WorkItem.id, turn)
        .where(
            WorkItem.status == ItemStatus.QUEUED,
            WorkItem.profile == profile,
            WorkItem.kind == ItemKind.POSE,
        )
        .subquery()
    )
    place = (
        func.row_number()
        .over(
            partition_by=(WorkItem.unlimited, WorkItem.width_px, WorkItem.height_px),
            order_by=(queued.c.turn, func.coalesce(User.last_served_at, User.created_at), WorkItem.queued_at),
        )
        .label("place")
    )
    ranked = (
        select(WorkItem, queued.c.turn, User.last_served_at, place)
        .join(queued, queued.c.id == WorkItem.id)
        .join(User, User.id == WorkItem.user_id)
    ).subquery()
    columns = ranked.c
    rows = session.execute(
        select(
            columns.id,
            columns.user_id,
            columns.unlimited,
            columns.last_served_at,
            columns.turn,
            columns.queued_at,
            columns.width_px,
            columns.height_px,
            columns.crashes,
        ).where(columns.place <= limit)
    )
    return [_candidate_of(row) for row in rows]


def _candidate_of(row: Row[*tuple[Any, ...]]) -> Candidate:
    return Candidate(
        item_id=row.id,
        user_id=row.user_id,
        unlimited=row.unlimited,
        user_served_at=row.last_served_at,
        turn=row.turn,
        queued_at=row.queued_at,
        size_px=(row.width_px, row.height_px),
        suspect=row.crashes > 0,
    )


def _claim_of(item: WorkItem) -> Claim:
    if item.generation_id is None:
        raise ValueError(f"item {item.id} draws for no generation")
    return Claim(
        item_id=item.id,
        attempt=item.attempt,
        kind=item.kind,
        generation_id=item.generation_id,
        user_id=item.user_id,
        variation_key=item.variation_key,
        pose_id=item.pose_id,
        people=item.people,
        prompt=item.prompt,
        seed=item.seed,
        redraw=item.redraw,
        width_px=item.width_px,
        height_px=item.height_px,
        steps=item.steps,
        guidance=item.guidance,
        control_scale=item.control_scale,
        control_end=item.control_end,
        alone=item.drawn_alone,
    )
