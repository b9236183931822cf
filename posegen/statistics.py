"""What a customer has drawn and spent so far: a handful of sums over indexed rows of that one user."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from posegen.projects import DELETED
from posegen.statuses import EntryType
from posegen.tables import GeneratedPicture, Generation, LedgerEntry, LibraryPose, Project

RECENT = timedelta(days=7)
MONTH = timedelta(days=30)
TOP_POSES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseUse:
    """How many delivered pictures show a pose."""

    pose: LibraryPose
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One user's numbers; credits are what was spent less what was refunded."""

    pictures: int
    projects: int
    generations: int
    recent_generations: int
    credits_spent: int
    credits_spent_last_30_days: int
    top_poses: Sequence[PoseUse]

    @property
    def average_credits(self) -> float:
        """Credits per generation, 0 before the first."""
        return round(self.credits_spent / self.generations, 2) if self.generations else 0.0


def statistics_of(session: Session, user_id: str, *, now: datetime) -> Statistics:
    """Return the user's numbers."""
    # Of all projects, deleted ones too: they count for ever, while old generations may be forgotten.
    generations, pictures, projects = session.execute(
        select(
            func.coalesce(func.sum(Project.total_generations), 0),
            func.coalesce(func.sum(Project.total_poses_generated), 0),
            func.count(case((Project.status != DELETED, 1))),
        ).where(Project.user_id == user_id)
    ).one()
    recent = session.execute(
        select(func.count())
        .select_from(Generation)
        .where(Generation.user_id == user_id, Generation.created_at >= now - RECENT)
    ).scalar_one()
    spent, lately = session.execute(
        select(
            func.coalesce(func.sum(-LedgerEntry.amount_credits), 0),
            func.coalesce(
                func.sum(case((LedgerEntry.created_at >= now - MONTH, -LedgerEntry.amount_credits), else_=0)), 0
            ),
        ).where(LedgerEntry.user_id == user_id, LedgerEntry.type.in_((EntryType.USAGE, EntryType.REFUND)))
    ).one()
    return Statistics(
        pictures=int(pictures),
        projects=projects,
        generations=int(generations),
        recent_generations=recent,
        credits_spent=int(spent),
        credits_spent_last_30_days=int(lately),
        top_poses=_top_poses(session, user_id),
    )


def _top_poses(session: Session, user_id: str) -> list[PoseUse]:
    used = (
        select(GeneratedPicture.pose_library_id.label("pose_id"), func.count().label("pictures"))
        .where(GeneratedPicture.user_id == user_id, GeneratedPicture.status == "completed")
        .where(GeneratedPicture.pose_library_id.is_not(None))
        .group_by(GeneratedPicture.pose_library_id)
        .order_by(func.count().desc(), GeneratedPicture.pose_library_id)
        .limit(TOP_POSES)
        .subquery()
    )
    rows = session.execute(
        select(LibraryPose, used.c.pictures)
        .join(used, used.c.pose_id == LibraryPose.id)
        .order_by(used.c.pictures.desc(), LibraryPose.id)
    )
    return [PoseUse(pose=row[0], pictures=row[1]) for row in rows]
