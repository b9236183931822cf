"""What an operator asks about recovery: which open generations wait, are drawn or stand still, and when it last ran.

The last run is one row of SQL, so it is true whichever process of whichever host ran it, and also after all of them
were started anew. A round is written down when it healed something, else only when the row is NOTE_EVERY old: rounds
come every few seconds from every process, and a row that all of them wrote would be a hot one. So the time told is
that of a real run, and at most NOTE_EVERY behind the newest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from posegen.statuses import OPEN_ITEM_STATUSES, ItemStatus
from posegen.tables import RecoveryRun, WorkItem

NOTE_EVERY = timedelta(seconds=10)
_ROW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatus:
    """Every open generation, counted once, and the last run; None before the first.

    stalled: a worker let the lease of one of its pictures lapse; processing: pictures are being drawn; queued: none is.
    """

    stalled: int
    queued: int
    processing: int
    last_run_at: datetime | None


def recovery_status(session: Session, *, now: datetime) -> RecoveryStatus:
    """Return how recovery stands. Writes nothing."""
    drawing = WorkItem.status == ItemStatus.DRAWING
    lapsed = and_(drawing, WorkItem.lease_until < now)
    opened = (
        select(
            func.max(case((drawing, 1), else_=0)).label("drawing"),
            func.max(case((lapsed, 1), else_=0)).label("lapsed"),
        )
        .where(WorkItem.status.in_(OPEN_ITEM_STATUSES), WorkItem.generation_id.is_not(None))
        .group_by(WorkItem.generation_id)
        .subquery()
    )
    counted = session.execute(
        select(func.count(), func.sum(opened.c.drawing), func.sum(opened.c.lapsed)).select_from(opened)
    ).one()
    total, drawn, stalled = (int(figure or 0) for figure in counted)
    last_run_at = session.execute(select(RecoveryRun.ended_at).where(RecoveryRun.id == _ROW)).scalar_one_or_none()
    return RecoveryStatus(stalled=stalled, queued=total - drawn, processing=drawn - stalled, last_run_at=last_run_at)


def note_run(session: Session, *, healed: bool, now: datetime) -> None:
    """Write down that a round of recovery was run, if it healed something or the row is getting old."""
    noted = session.execute(select(RecoveryRun.ended_at).where(RecoveryRun.id == _ROW)).scalar_one_or_none()
    if noted is None:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        session.execute(insert(RecoveryRun).values(id=_ROW, ended_at=now).on_conflict_do_nothing())
    elif healed or noted <= now - NOTE_EVERY:
        session.execute(
            update(RecoveryRun)
            .where(RecoveryRun.id == _ROW, RecoveryRun.ended_at < now)
            .values(ended_at=now)
            .execution_options(synchronize_session=False)
        )
