"""Who holds which picture, and what happens when the holder dies.

A claim is SQL: status drawing, attempt + 1, a lease by the database's clock. Whoever writes for an item names the
attempt it holds, so a ghost that wakes up after its lease was taken over cannot write. Nothing here commits.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, Row, and_, func, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from posegen.identifiers import seed_of_redraw
from posegen.loras import Loras, read_loras
from posegen.pose_control import may_be_poseless
from posegen.queueing import Candidate, Room, choose
from posegen.statuses import ItemKind, ItemStatus
from posegen.tables import Generation, User, WorkItem
from posegen.tallies import CLAIMS, RETURNED, happened
from posegen.workforce import dead_workers

CANDIDATES_PER_ROW = 4
"""Read so many candidates of a user per free row, since other workers may lock some of them first."""
LEAST_CANDIDATES = 16
APART = timedelta(microseconds=1)
"""Pictures taken in one transaction are claimed so far apart, or nobody would know later in which order they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One picture this worker holds, with everything it takes to draw it. `attempt` fences every later write.

    seed: the item's own; redraw: which drawing of it this is, 0 the first. `request_id`: of the HTTP request that
    ordered it, for logs.
    """

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
    loras: Loras = ()
    allow_poseless: bool = False
    request_id: str | None = None

    @property
    def drawing_seed(self) -> int:
        """The seed that this drawing starts from."""
        return seed_of_redraw(self.seed, self.redraw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """The worker that asks: its name, the one profile it draws, and how long it wants to hold what it takes.

    One that follows no pose takes only pictures whose order is content with that.
    """

    worker: str
    profile: str
    lease_s: float
    follows_poses: bool = True


def claim_items(session: Session, claimant: Claimant, room: Room, *, now: datetime) -> list[Claim]:
    """Take the best queued pictures for the room the engine has; see posegen.queueing for the rule.

    Marks them drawing and their users served. Items whose lease lapsed must have been returned first
    (posegen.recovery). On PostgreSQL rows locked by another claimer are skipped, so fewer may come back.
    """
    if room.free_rows < 1 or room.holds_suspect:
        return []
    candidates = _candidates(session, claimant, max(LEAST_CANDIDATES, CANDIDATES_PER_ROW * room.free_rows))
    tiers = _recent_tiers(session, claimant.profile)
    claims: list[Claim] = []
    # Another claimer may hold what stands first: then choose again among the rest, instead of leaving empty-handed.
    while chosen := choose(candidates, room, recent_unlimited=tiers, now=now):
        taken = _take(session, claimant, chosen, now + len(claims) * APART)
        claims += taken
        if len(taken) == len(chosen) or any(claim.alone for claim in taken):
            break
        got = {claim.item_id for claim in taken}
        tiers = [chosen_.unlimited for chosen_ in reversed(chosen) if chosen_.item_id in got] + tiers
        asked = {candidate.item_id for candidate in chosen}
        candidates = [candidate for candidate in candidates if candidate.item_id not in asked]
        if taken:
            size_px = (taken[0].width_px, taken[0].height_px)
            room = replace(room, free_rows=room.free_rows - len(taken), size_px=size_px, loras=taken[0].loras)
    session.flush()
    _mark_served(session, {claim.user_id for claim in claims}, now)
    return _with_request_ids(session, claims)


def renew_leases(
    session: Session, held: Sequence[tuple[str, int]], *, lease_s: float, now: datetime
) -> set[tuple[str, int]]:
    """Prolong the leases of (item id, attempt) pairs; return those still held. The rest were taken or cancelled.

    Whoever slept through a lease may have claimed the same picture again: then only the newer pair is held.
    """
    kept = set()
    for item_id, attempt in sorted(held):
        won = session.execute(
            update(WorkItem)
            .where(_held(item_id, attempt))
            .values(lease_until=now + timedelta(seconds=lease_s))
            .execution_options(synchronize_session=False)
        )
        if won.rowcount:  # type: ignore[attr-defined]
            kept.add((item_id, attempt))
    return kept


def still_held(session: Session, held: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return those of the (item id, attempt) pairs that are still held. Writes nothing."""
    rows = session.execute(
        select(WorkItem.id, WorkItem.attempt).where(
            WorkItem.id.in_([item_id for item_id, _attempt in held]), WorkItem.status == ItemStatus.DRAWING
        )
    )
    return {(row[0], row[1]) for row in rows} & set(held)


def has_queued(session: Session, profile: str, *, follows_poses: bool = True) -> bool:
    """Tell whether pictures of a profile wait to be claimed, by whoever follows poses or does not."""
    waiting = select(WorkItem.id).where(WorkItem.status == ItemStatus.QUEUED, WorkItem.profile == profile)
    if not follows_poses:
        waiting = waiting.where(may_be_poseless(WorkItem))
    return session.execute(waiting.limit(1)).first() is not None


def acquit(session: Session, item_id: str, attempt: int) -> None:
    """Note that a picture that was drawn alone left the engine: a death from here on is not its doing."""
    session.execute(
        update(WorkItem)
        .where(_held(item_id, attempt))
        .values(drawn_alone=False)
        .execution_options(synchronize_session=False)
    )


def give_back(session: Session, item_id: str, attempt: int, *, now: datetime) -> bool:
    """Return an undrawn picture to the queue (a drain, or an engine that refused the batch). No crash is counted."""
    won = session.execute(
        update(WorkItem)
        .where(_held(item_id, attempt))
        .values(status=ItemStatus.QUEUED, lease_until=None, worker=None)
        .execution_options(synchronize_session=False)
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        return False
    happened(session, RETURNED, reason="given_back")
    return True


def lapsed_items(session: Session, *, now: datetime) -> Sequence[tuple[str, str | None]]:
    """Return (item id, generation id) of items whose lease lapsed or whose worker is dead, by generation.

    Nothing is locked.
    """
    rows = session.execute(
        select(WorkItem.id, WorkItem.generation_id)
        .where(
            WorkItem.status == ItemStatus.DRAWING,
            or_(WorkItem.lease_until < now, WorkItem.worker.in_(dead_workers())),
        )
        .order_by(WorkItem.generation_id, WorkItem.id)
        .limit(200)
    )
    return [(row[0], row[1]) for row in rows]


def queued_generations(session: Session, *, profiles: Collection[str], limit: int = 20) -> list[str]:
    """Return generations with queued pictures of these profiles, the longest waiting first."""
    rows = session.execute(
        select(WorkItem.generation_id)
        .where(
            WorkItem.status == ItemStatus.QUEUED,
            WorkItem.profile.in_(sorted(profiles)),
            WorkItem.kind == ItemKind.POSE,
            WorkItem.generation_id.is_not(None),
        )
        .group_by(WorkItem.generation_id)
        .order_by(func.min(WorkItem.queued_at))
        .limit(limit)
    )
    return [row[0] for row in rows if row[0] is not None]


def held_by(item_id: str, attempt: int) -> ColumnElement[bool]:
    """Return the fence: this attempt still holds the item."""
    return _held(item_id, attempt)


def _take(session: Session, claimant: Claimant, chosen: Sequence[Candidate], now: datetime) -> list[Claim]:
    """Claim those of the chosen that are still queued and that nobody else is claiming now, first in line first."""
    taking = select(WorkItem).where(WorkItem.id.in_([candidate.item_id for candidate in chosen]))
    if not claimant.follows_poses:
        taking = taking.where(may_be_poseless(WorkItem))  # they were chosen so; this is where it counts
    locked = session.scalars(
        taking.with_for_update(skip_locked=True, key_share=True).execution_options(populate_existing=True)
    ).all()
    free = {item.id: item for item in locked if item.status == ItemStatus.QUEUED}
    claims: list[Claim] = []
    for candidate in chosen:
        item = free.get(candidate.item_id)
        if item is None:
            continue
        item.status = ItemStatus.DRAWING
        item.attempt += 1
        item.worker = claimant.worker
        item.lease_until = now + timedelta(seconds=claimant.lease_s)
        item.claimed_at = now + len(claims) * APART
        item.drawn_alone = candidate.suspect
        claims.append(_claim_of(item, allow_poseless=not claimant.follows_poses))
        happened(session, CLAIMS, profile=item.profile, again="true" if item.attempt > 1 else "false")
    return claims


def _with_request_ids(session: Session, claims: list[Claim]) -> list[Claim]:
    """Return the claims with the requests that ordered them."""
    if not claims:
        return claims
    ordered = select(Generation.id, Generation.request_id).where(
        Generation.id.in_({claim.generation_id for claim in claims}), Generation.request_id.is_not(None)
    )
    request_ids = {row[0]: row[1] for row in session.execute(ordered)}
    return [replace(claim, request_id=request_ids.get(claim.generation_id)) for claim in claims]


def _mark_served(session: Session, user_ids: set[str], now: datetime) -> None:
    if not user_ids:
        return
    serving = User.id.in_(sorted(user_ids))
    # Locked in one order, so that two claimers with the same users do not deadlock.
    session.execute(select(User.id).where(serving).order_by(User.id).with_for_update(key_share=True))
    session.execute(update(User).where(serving).values(last_served_at=now).execution_options(synchronize_session=False))


def _held(item_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(WorkItem.id == item_id, WorkItem.attempt == attempt, WorkItem.status == ItemStatus.DRAWING)


def _recent_tiers(session: Session, profile: str) -> list[bool]:
    """Tell of the profile's latest claims, newest first, whether each went to the unlimited tier."""
    rows = session.execute(
        select(WorkItem.unlimited)
        .where(WorkItem.profile == profile, WorkItem.claimed_at.is_not(None))
        .order_by(WorkItem.claimed_at.desc(), WorkItem.id.desc())
        .limit(8)
    )
    return [bool(row[0]) for row in rows]


def _candidates(session: Session, claimant: Claimant, limit: int) -> list[Candidate]:
    """Read the oldest queued pictures of each waiting user in each tier, so that a long order hides nobody.

    Steps from user to user through the index ix_work_items_line: a queue of 10,000 costs no more than its users do.
    """
    found = []
    for unlimited in (True, False):
        waiting = _waiting_users(claimant, unlimited=unlimited)
        oldest = (
            select(WorkItem)
            .where(*_in_line(WorkItem, claimant, unlimited), WorkItem.user_id == waiting.c.user_id)
            .order_by(WorkItem.queued_at, WorkItem.id)
            .limit(limit)
            .correlate(waiting)
        )
        if session.get_bind().dialect.name == "postgresql":
            heads = oldest.lateral()
            joined = select(*_columns_of(heads.c)).select_from(waiting).join(heads, true())
        else:  # SQLite knows no LATERAL
            ids = oldest.with_only_columns(WorkItem.id)
            joined = select(*_columns_of(WorkItem)).select_from(waiting).join(WorkItem, WorkItem.id.in_(ids))
        rows = session.execute(joined.add_columns(User.last_served_at).join(User, User.id == waiting.c.user_id)).all()
        turns: Counter[str] = Counter()
        for row in sorted(rows, key=lambda row: (row.queued_at, row.id)):
            found.append(_candidate_of(row, turn=turns[row.user_id]))
            turns[row.user_id] += 1
    return found


def _waiting_users(claimant: Claimant, *, unlimited: bool) -> CTE:
    """Name the users with queued pictures: the least id, then again and again the next one after it."""
    users = select(func.min(WorkItem.user_id).label("user_id")).where(*_in_line(WorkItem, claimant, unlimited))
    waiting = users.cte("waiting", recursive=True)
    later = aliased(WorkItem)
    following = (
        select(func.min(later.user_id))
        .where(*_in_line(later, claimant, unlimited), later.user_id > waiting.c.user_id)
        .scalar_subquery()
    )
    return waiting.union_all(select(following).where(waiting.c.user_id.is_not(None)))


def _in_line(item: type[WorkItem], claimant: Claimant, unlimited: bool) -> tuple[ColumnElement[bool], ...]:
    return (
        item.status == ItemStatus.QUEUED,
        item.profile == claimant.profile,
        item.kind == ItemKind.POSE,
        item.unlimited == unlimited,
        *(() if claimant.follows_poses else (may_be_poseless(item),)),
    )


def _columns_of(item: Any) -> tuple[Any, ...]:
    return (
        *(item.id, item.user_id, item.unlimited, item.queued_at),
        *(item.width_px, item.height_px, item.loras, item.crashes),
    )


def _candidate_of(row: Row[*tuple[Any, ...]], *, turn: int) -> Candidate:
    return Candidate(
        item_id=row.id,
        user_id=row.user_id,
        unlimited=row.unlimited,
        user_served_at=row.last_served_at,
        turn=turn,
        queued_at=row.queued_at,
        size_px=(row.width_px, row.height_px),
        loras=read_loras(row.loras),
        suspect=row.crashes > 0,
    )


def _claim_of(item: WorkItem, *, allow_poseless: bool) -> Claim:
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
        loras=read_loras(item.loras),
        allow_poseless=allow_poseless,
    )
