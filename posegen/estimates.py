"""How long an order will take, from the measured speed of the workers. Nothing measured means None, never a guess.

The line is read as posegen.queueing serves it: user by user in turn, three of four for the unlimited tier. Pictures
are counted alike, whatever their size and steps, and nobody who comes later is foreseen, so it is an estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from posegen.queueing import TIER_SHARE
from posegen.statuses import ItemKind, ItemStatus
from posegen.tables import Generation, User, WorkItem
from posegen.workforce import live_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One user's queued pictures of one tier. `since` is when the oldest was queued."""

    user_id: str
    unlimited: bool
    pictures: int
    served_at: datetime | None
    since: datetime

    def precedes(self, other: "Waiting") -> bool:
        """Tell whether this user is served before the other when both are in the same turn."""
        return self._rank() <= other._rank()

    def _rank(self) -> tuple[float, datetime]:
        return self.served_at.timestamp() if self.served_at else 0.0, self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When pictures will be drawn. `position` counts from 1, None when nothing waits; times are None if unknown.

    queue_wait_s: until the first of them is begun. drawing_s: from then until the last is drawn.
    """

    position: int | None
    queue_wait_s: float | None
    drawing_s: float | None

    @property
    def total_s(self) -> int | None:
        """Whole seconds until the last picture."""
        if self.queue_wait_s is None or self.drawing_s is None:
            return None
        return _whole_s(self.queue_wait_s + self.drawing_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What lies before the end of a generation that was begun: so many `pictures`, `left` of them its own.

    Reading it takes as long as the line is; what is left afterwards is arithmetic, for a transaction that others wait
    for.
    """

    pictures: int
    left: int
    pictures_per_s: float | None

    def remaining_s(self, left: int) -> int | None:
        """Return whole seconds until the last picture, now that so many of its own are left; None if unknown."""
        if left == 0:
            return 0
        if self.pictures_per_s is None:
            return None
        return _whole_s(_end_s(self.pictures - (self.left - left), self.pictures_per_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    pictures_per_s: float
    rows: int


NOTHING_OPEN = Estimate(position=None, queue_wait_s=0.0, drawing_s=0.0)


def taken_before(line: Sequence[Waiting], mine: Waiting, turn: int) -> int:
    """Return how many queued pictures will be taken before the one that is `turn` (from 0) among its user's own."""
    peers = [other for other in line if other.unlimited == mine.unlimited and other.user_id != mine.user_id]
    ahead = turn + sum(min(other.pictures, turn + other.precedes(mine)) for other in peers)
    other_tier = sum(other.pictures for other in line if other.unlimited != mine.unlimited)
    return ahead + min(other_tier, ahead // TIER_SHARE if mine.unlimited else TIER_SHARE * (ahead + 1))


def estimate_of_order(
    session: Session, user_id: str, *, pictures: int, unlimited: bool, profile: str, now: datetime
) -> Estimate:
    """Estimate an order of so many pictures, were it placed now."""
    line = _line(session, profile)
    mine = _mine(session, line, user_id, unlimited, now)
    first, last = (taken_before(line, mine, mine.pictures + turn) for turn in (0, pictures - 1))
    return _estimate(session, profile, first, last, now)


def estimate_of_generation(session: Session, generation: Generation, *, now: datetime) -> Estimate:
    """Estimate what is still open of a generation. Once it was begun it waits for nothing: it is drawn in turn."""
    queued, drawing = (_count(session, generation, status) for status in (ItemStatus.QUEUED, ItemStatus.DRAWING))
    if not queued and not drawing:
        return NOTHING_OPEN
    first, last = _places(session, generation, queued)
    begun = drawing > 0 or generation.started_at is not None
    return _estimate(session, generation.profile, first, last, now, begun=begun)


def outlook_of_generation(session: Session, generation_id: str, *, now: datetime) -> Outlook:
    """Return the outlook of a generation that was begun; its estimate, but for what happens from now on."""
    generation = session.get_one(Generation, generation_id)
    queued, drawing = (_count(session, generation, status) for status in (ItemStatus.QUEUED, ItemStatus.DRAWING))
    _first, last = _places(session, generation, queued)
    pace = _pace(session, generation.profile, now)
    return Outlook(
        pictures=_drawn_now(session, generation.profile) + last + 1,
        left=queued + drawing,
        pictures_per_s=None if pace is None else pace.pictures_per_s,
    )


def _places(session: Session, generation: Generation, queued: int) -> tuple[int, int]:
    """Return the places in the line (from 0) of its first and last queued picture; -1 when nothing of it waits."""
    if not queued:
        return -1, -1  # only what is being drawn now
    line = _line(session, generation.profile)
    mine = _mine(session, line, generation.user_id, generation.unlimited, generation.created_at)
    before = _queued_before(session, generation)
    return taken_before(line, mine, before), taken_before(line, mine, before + queued - 1)


def _estimate(session: Session, profile: str, first: int, last: int, now: datetime, *, begun: bool = False) -> Estimate:
    """Tell when the queued pictures at the places `first` and `last` (from 0) are begun and drawn."""
    position = first + 1 if first >= 0 else None
    pace = _pace(session, profile, now)
    if pace is None:
        return Estimate(position=position, queue_wait_s=None, drawing_s=None)
    drawing = _drawn_now(session, profile)
    # A picture is begun when a row is free: once all but `rows` of those before it are drawn.
    wait_s = 0.0 if begun else max(0, drawing + first + 1 - pace.rows) / pace.pictures_per_s
    end_s = _end_s(drawing + last + 1, pace.pictures_per_s)
    return Estimate(position=position, queue_wait_s=round(wait_s, 1), drawing_s=round(end_s - wait_s, 1))


def _end_s(pictures: int, pictures_per_s: float) -> float:
    return max(1, pictures) / pictures_per_s


def _whole_s(total_s: float) -> int:
    return max(1, round(round(total_s, 1))) if total_s else 0


def _drawn_now(session: Session, profile: str) -> int:
    return session.execute(
        select(func.count())
        .select_from(WorkItem)
        .where(WorkItem.status == ItemStatus.DRAWING, WorkItem.profile == profile)
    ).scalar_one()


def _pace(session: Session, profile: str, now: datetime) -> _Pace | None:
    measured = [
        (worker.pictures_per_s, worker.max_batch)
        for worker in live_workers(session, now=now)
        if worker.profile == profile and worker.pictures_per_s
    ]
    if not measured:
        return None
    return _Pace(pictures_per_s=sum(speed for speed, _rows in measured), rows=sum(rows for _speed, rows in measured))


def _line(session: Session, profile: str) -> list[Waiting]:
    counts = (
        select(
            WorkItem.user_id,
            WorkItem.unlimited,
            func.count().label("pictures"),
            func.min(WorkItem.queued_at).label("since"),
        )
        .where(WorkItem.status == ItemStatus.QUEUED, WorkItem.profile == profile, WorkItem.kind == ItemKind.POSE)
        .group_by(WorkItem.user_id, WorkItem.unlimited)
        .subquery()
    )
    rows = session.execute(select(counts, User.last_served_at).join(User, User.id == counts.c.user_id))
    return [
        Waiting(
            user_id=row.user_id,
            unlimited=row.unlimited,
            pictures=row.pictures,
            served_at=row.last_served_at,
            since=row.since,
        )
        for row in rows
    ]


def _mine(session: Session, line: Sequence[Waiting], user_id: str, unlimited: bool, since: datetime) -> Waiting:
    found = next((one for one in line if (one.user_id, one.unlimited) == (user_id, unlimited)), None)
    if found is not None:
        return found
    served_at = session.execute(select(User.last_served_at).where(User.id == user_id)).scalar_one_or_none()
    return Waiting(user_id=user_id, unlimited=unlimited, pictures=0, served_at=served_at, since=since)


def _count(session: Session, generation: Generation, status: ItemStatus) -> int:
    return session.execute(
        select(func.count())
        .select_from(WorkItem)
        .where(WorkItem.generation_id == generation.id, WorkItem.status == status)
    ).scalar_one()


def _queued_before(session: Session, generation: Generation) -> int:
    """Count the user's own queued pictures of the same tier that stand before this generation's."""
    return session.execute(
        select(func.count())
        .select_from(WorkItem)
        .where(
            WorkItem.status == ItemStatus.QUEUED,
            WorkItem.profile == generation.profile,
            WorkItem.kind == ItemKind.POSE,
            WorkItem.unlimited == generation.unlimited,
            WorkItem.user_id == generation.user_id,
            or_(
                WorkItem.queued_at < generation.created_at,
                and_(WorkItem.queued_at == generation.created_at, WorkItem.generation_id < generation.id),
            ),
        )
    ).scalar_one()
