"""How long an order will take, from the measured speed of the workers. Nothing measured means None, never a guess."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from posegen.statuses import OPEN_ITEM_STATUSES
from posegen.tables import Generation, WorkItem
from posegen.workforce import pictures_per_s


def drawing_estimate_s(session: Session, generation: Generation, *, now: datetime) -> int | None:
    """Return the seconds until the generation's last picture, 0 when nothing is open, None while speed is unknown.

    Users are served in turn, so while others wait too, each of this generation's pictures comes after one of theirs;
    but nobody waits longer than for everything that is open.
    """
    open_items = (WorkItem.status.in_(OPEN_ITEM_STATUSES), WorkItem.profile == generation.profile)
    mine = session.execute(
        select(func.count()).select_from(WorkItem).where(WorkItem.generation_id == generation.id, *open_items)
    ).scalar_one()
    if mine == 0:
        return 0
    speed = pictures_per_s(session, generation.profile, now=now)
    if speed is None:
        return None
    everything, users = session.execute(
        select(func.count(), func.count(func.distinct(WorkItem.user_id))).select_from(WorkItem).where(*open_items)
    ).one()
    return max(1, round(min(everything, mine * users) / speed))
