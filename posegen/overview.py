"""The service at a glance, read from SQL alone: what waits, what is drawn, who draws. For `posegen top` and Prometheus.

Everything here goes through an index, so that it may be asked every few seconds whatever the history.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from posegen.statuses import EventType, ItemKind, ItemStatus
from posegen.tables import UserEvent, WorkerRow, WorkItem
from posegen.workforce import ALIVE_FOR

ENDED_FOR = timedelta(minutes=10)
"""So long a worker that ended with an error is still shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What waits and is drawn of one profile. oldest_s: how long the first in line has waited; None: nobody waits."""

    profile: str
    waiting: int
    drawing: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The whole queue, and every worker that is alive or ended badly a moment ago, by device."""

    now: datetime
    lines: tuple[Line, ...]
    photos_waiting: int
    workers: tuple[WorkerRow, ...]


def read_overview(session: Session, *, now: datetime) -> Overview:
    """Read it. Nothing is locked."""
    return Overview(
        now=now, lines=_lines(session, now), photos_waiting=_photos(session), workers=tuple(_workers(session, now))
    )


def finished_since(session: Session, since: datetime) -> dict[str, int]:
    """Return how many pictures were delivered (`completed`) and given up (`failed`) since; at most a day back."""
    status = UserEvent.payload["status"].as_string()
    rows = session.execute(
        select(status, func.count())
        .where(UserEvent.created_at >= since, UserEvent.type == EventType.POSE_COMPLETED)
        .group_by(status)
    )
    found = {row[0]: row[1] for row in rows}
    return {"completed": found.get("completed", 0), "failed": found.get("failed", 0)}


def is_alive(worker: WorkerRow, *, now: datetime) -> bool:
    """Tell whether a worker was heard a moment ago and is not known to be gone."""
    return worker.died_at is None and worker.heartbeat_at >= now - ALIVE_FOR


def slots(workers: Sequence[WorkerRow]) -> list[tuple[str, WorkerRow]]:
    """Name workers by device, for labels that outlive processes: of several on one device the later are `cpu#2`."""
    seen: Counter[tuple[str, str]] = Counter()
    named = []
    for worker in sorted(workers, key=lambda row: (row.host, row.device, row.started_at, row.name)):
        seen[worker.host, worker.device] += 1
        number = seen[worker.host, worker.device]
        named.append((worker.device if number == 1 else f"{worker.device}#{number}", worker))
    return named


def _lines(session: Session, now: datetime) -> tuple[Line, ...]:
    rows = session.execute(
        select(WorkItem.profile, WorkItem.status, func.count(), func.min(WorkItem.queued_at))
        .where(WorkItem.status.in_((ItemStatus.QUEUED, ItemStatus.DRAWING)), WorkItem.kind == ItemKind.POSE)
        .group_by(WorkItem.profile, WorkItem.status)
    ).all()
    found = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    lines = []
    for profile in sorted({profile for profile, _status in found}):
        waiting, oldest = found.get((profile, ItemStatus.QUEUED), (0, None))
        drawing, _ = found.get((profile, ItemStatus.DRAWING), (0, None))
        oldest_s = max(0.0, (now - oldest).total_seconds()) if oldest is not None else None
        lines.append(Line(profile=profile, waiting=waiting, drawing=drawing, oldest_s=oldest_s))
    return tuple(lines)


def _photos(session: Session) -> int:
    waiting = select(func.count()).where(WorkItem.status == ItemStatus.QUEUED, WorkItem.kind == ItemKind.DETECT)
    return session.execute(waiting).scalar_one()


def _workers(session: Session, now: datetime) -> list[WorkerRow]:
    """Read the rows that were heard lately: the heartbeat is indexed, and rows older than a day are deleted anyway."""
    rows = session.scalars(
        select(WorkerRow)
        .where(WorkerRow.heartbeat_at >= now - ENDED_FOR)
        .order_by(WorkerRow.host, WorkerRow.device, WorkerRow.started_at, WorkerRow.name)
    ).all()
    return [row for row in rows if _is_shown(row, now)]


def _is_shown(worker: WorkerRow, now: datetime) -> bool:
    if worker.status == "stopped":
        return worker.error_message is not None
    return worker.died_at is not None or is_alive(worker, now=now)
