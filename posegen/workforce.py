"""The workers as SQL knows them: who is alive, what they draw and how fast.

A row is written by its own process only, every few seconds; a row whose heartbeat is old belongs to a dead process,
whatever its status says. That a process of the same machine is gone is noted in its row by whoever sees it first.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from posegen.database import database_now
from posegen.errors import NoProfileKnown
from posegen.statuses import WorkerStatus
from posegen.tables import WorkerRow

HEARTBEAT_EVERY_S = 3.0
ALIVE_FOR = timedelta(seconds=15)
"""A worker whose heartbeat is older than this is taken for dead."""
ROWS_KEPT = timedelta(days=1)
_LEAVING = (WorkerStatus.DRAINING, WorkerStatus.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a worker draws, fixed when its engine was loaded; in its row's capabilities. None: it does not tell.

    precision: of the weights; attention, compiled: what computes them; cache: which steps are extrapolated; backend:
    what its pictures say drew them; memory_total_bytes: of its card; metrics_port: where it tells Prometheus.
    """

    backend: str | None = None
    precision: str | None = None
    cache: str | None = None
    attention: str | None = None
    compiled: bool | None = None
    memory_total_bytes: int | None = None
    metrics_port: int | None = None


_DRAWING = "drawing"


def drawing_capability(drawing: Drawing) -> dict[str, Any]:
    """Return what a worker's row says of how it draws, for `drawing_of`."""
    return {_DRAWING: asdict(drawing)}


def drawing_of(worker: WorkerRow) -> Drawing:
    """Return how a worker says it draws; nothing of it while it starts, or of one of another version."""
    said = worker.capabilities.get(_DRAWING)
    if not isinstance(said, Mapping):
        return Drawing()
    return Drawing(**{name: said.get(name) for name in Drawing.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself with a heartbeat. Speeds are None until something was measured."""

    name: str
    host: str
    pid: int
    device: str
    device_name: str | None
    profile: str
    status: WorkerStatus
    max_batch: int
    capabilities: dict[str, Any] = field(default_factory=dict)
    rows_active: int = 0
    steps_per_s: float | None = None
    pictures_per_s: float | None = None
    busy_share: float | None = None
    memory_bytes: int | None = None
    error_message: str | None = None
    process: str | None = None


def report(session: Session, said: WorkerReport, *, now: datetime) -> None:
    """Write the worker's row and its heartbeat."""
    row = session.get(WorkerRow, said.name)
    if row is None:
        row = WorkerRow(name=said.name, started_at=now)
        session.add(row)
    for name in WorkerReport.__slots__:
        if name != "name":
            setattr(row, name, getattr(said, name))
    row.heartbeat_at = now


def live_workers(session: Session, *, now: datetime) -> Sequence[WorkerRow]:
    """Return the workers that are alive and not leaving, by name."""
    return session.scalars(
        select(WorkerRow)
        .where(
            WorkerRow.heartbeat_at >= now - ALIVE_FOR,
            WorkerRow.status.in_((WorkerStatus.STARTING, WorkerStatus.READY)),
            WorkerRow.died_at.is_(None),
        )
        .order_by(WorkerRow.name)
    ).all()


def note_deaths(session: Session, *, is_gone: Callable[[str], bool], now: datetime) -> None:
    """Note the death of every worker whose process is certainly gone (`posegen.processes`)."""
    living = select(WorkerRow.name, WorkerRow.process).where(
        WorkerRow.died_at.is_(None), WorkerRow.process.is_not(None), WorkerRow.status != WorkerStatus.STOPPED
    )
    for name, process in session.execute(living).all():
        if process is not None and is_gone(process):
            session.execute(update(WorkerRow).where(WorkerRow.name == name).values(died_at=now))


def dead_workers() -> Select[str]:
    """Select the names of the workers that are known to be dead."""
    return select(WorkerRow.name).where(WorkerRow.died_at.is_not(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """The last that is known of a worker. is_leaving: it said so. is_dead: its process is gone, that is certain."""

    heard: datetime
    is_leaving: bool
    is_dead: bool


def last_seen(session: Session, name: str) -> LastSeen | None:
    """Return the last that is known of a worker, alive or dead; None for one that is unknown."""
    row = session.get(WorkerRow, name, populate_existing=True)
    if row is None:
        return None
    return LastSeen(heard=row.heartbeat_at, is_leaving=row.status in _LEAVING, is_dead=row.died_at is not None)


def useful_rings(session: Session, profile: str, pictures: int, *, now: datetime) -> int:
    """Return how many workers so many pictures could keep busy, at least 1: a ring that nobody hears yet is kept."""
    rings, left = 0, pictures
    for worker in live_workers(session, now=now):
        if worker.profile == profile and left > 0:
            rings += 1
            left -= worker.max_batch
    return max(1, rings)


def service_profile(session: Session, configured: str) -> str:
    """Return the profile that orders are made for: the configured one, else what the workers report.

    Of several profiles the one that most ready workers draw, else most starting ones; while none is alive, what the
    last one drew. A worker that is still choosing reports no profile and does not count. Raises NoProfileKnown when
    no worker ever reported one; an order without a profile could never be drawn.
    """
    if configured:
        return configured
    alive = [worker for worker in live_workers(session, now=database_now(session)) if worker.profile]
    ready = [worker for worker in alive if worker.status == WorkerStatus.READY]
    drawn = Counter(worker.profile for worker in ready or alive)
    if drawn:
        return min(drawn, key=lambda profile: (-drawn[profile], profile))
    newest = session.scalars(
        select(WorkerRow.profile).where(WorkerRow.profile != "").order_by(WorkerRow.heartbeat_at.desc()).limit(1)
    ).one_or_none()
    if newest is None:
        raise NoProfileKnown
    return newest


def prune_workers(session: Session, *, now: datetime) -> None:
    """Delete rows of processes that have been silent for a day, but the newest: it still says what is drawn here."""
    newest = select(func.max(WorkerRow.heartbeat_at)).where(WorkerRow.profile != "").scalar_subquery()
    session.execute(
        delete(WorkerRow)
        .where(
            WorkerRow.heartbeat_at < now - ROWS_KEPT,
            or_(WorkerRow.profile == "", WorkerRow.heartbeat_at < newest),
        )
        .execution_options(synchronize_session=False)
    )
