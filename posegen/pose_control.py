"""Whether what draws here can follow a pose. Everything can but the hosted service that takes words only.

Asked at three doors, so that no order is drawn without its pose unless it allows that: an order is refused while
nothing else draws, a claim of such a worker passes other pictures by (posegen.leases), and its engine refuses what came
through all the same. What a worker says of itself stands in its row.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from posegen.errors import PosesNotFollowed
from posegen.statuses import ItemKind, ItemStatus, WorkerStatus
from posegen.tables import Generation, WorkerRow, WorkItem
from posegen.workforce import live_workers

FOLLOWS = "followsPoses"
HOSTED = "hosted"


def follows_poses(worker: WorkerRow) -> bool:
    """Tell whether a worker follows poses: all do that do not say otherwise."""
    return worker.capabilities.get(FOLLOWS) is not False


def hosted_of(worker: WorkerRow) -> Mapping[str, Any] | None:
    """Return what a worker says of the endpoint that draws for it; None for one that draws itself."""
    said = worker.capabilities.get(HOSTED)
    return said if isinstance(said, Mapping) else None


def check_pose_control(session: Session, profile: str, *, needs_poses: bool, now: datetime) -> None:
    """Refuse an order that wants its poses followed while nothing here can. Raises PosesNotFollowed.

    Of live workers one that can is enough, ready ones before those that still start. While none is alive the last one
    decides, as it does about the profile.
    """
    if not needs_poses:
        return
    drawing = [worker for worker in live_workers(session, now=now) if worker.profile == profile]
    ready = [worker for worker in drawing if worker.status == WorkerStatus.READY]
    if not drawing:
        drawing = list(
            session.scalars(
                select(WorkerRow).where(WorkerRow.profile == profile).order_by(WorkerRow.heartbeat_at.desc()).limit(1)
            )
        )
    asked = ready or drawing
    if asked and not any(map(follows_poses, asked)):
        raise PosesNotFollowed


def may_be_poseless(item: type[WorkItem]) -> ColumnElement[bool]:
    """Select pictures that may be drawn by whoever follows no pose: their order allows it, or the pose has no say."""
    allowed = select(Generation.id).where(Generation.id == item.generation_id, Generation.allow_poseless)
    return or_(item.control_scale == 0, allowed.correlate(item).exists())


def undrawable(session: Session, workers: Sequence[WorkerRow]) -> dict[str, int]:
    """Return how many queued pictures of each profile none of these workers draws."""
    waiting: dict[str, int] = {}
    posing = {worker.profile for worker in workers if follows_poses(worker)}
    poseless = {worker.profile for worker in workers} - posing
    queued = (WorkItem.status == ItemStatus.QUEUED, WorkItem.kind == ItemKind.POSE)
    counted = select(WorkItem.profile, func.count()).where(*queued).group_by(WorkItem.profile)
    for name, pictures in session.execute(counted.where(WorkItem.profile.not_in(posing | poseless))):
        waiting[name] = pictures
    if poseless:
        of_poseless = counted.where(WorkItem.profile.in_(poseless), ~may_be_poseless(WorkItem))
        for name, pictures in session.execute(of_poseless):
            waiting[name] = pictures
    return waiting
