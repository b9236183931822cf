"""Reading generations: an order with its pictures and progress, always within what its user may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from posegen.errors import NotFound
from posegen.estimates import Estimate, estimate_of_generation
from posegen.paging import Page, Paged
from posegen.tables import GeneratedPicture, Generation, WorkItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a generation is, and when the rest will be drawn."""

    percentage: int
    completed: int
    failed: int
    total: int
    status: str
    estimate: Estimate


def owned_generation(session: Session, user_id: str, generation_id: str) -> Generation:
    """Return the user's generation. Raises NotFound, also for somebody else's."""
    generation = session.scalars(
        select(Generation).where(Generation.id == generation_id, Generation.user_id == user_id)
    ).one_or_none()
    if generation is None:
        raise NotFound("generation", [generation_id])
    return generation


def progress_of(session: Session, generation: Generation, *, now: datetime) -> Progress:
    """Return how far the generation is and how long it will still take."""
    return Progress(
        percentage=percentage(generation),
        completed=generation.poses_completed,
        failed=generation.poses_failed,
        total=generation.total_expected_poses,
        status=generation.status,
        estimate=estimate_of_generation(session, generation, now=now),
    )


def percentage(generation: Generation) -> int:
    """Return the share of pictures that were drawn or failed, 0..100; 100 only when the last one is."""
    return 100 * (generation.poses_completed + generation.poses_failed) // generation.total_expected_poses


def pictures_of(session: Session, generation: Generation) -> Sequence[GeneratedPicture]:
    """Return the generation's final pictures so far, in the order they were asked for."""
    return session.scalars(_pictures(generation.id)).all()


def page_of_pictures(session: Session, generation: Generation, page: Page) -> Paged[GeneratedPicture]:
    """Return one page of the generation's final pictures."""
    total = session.execute(
        select(func.count()).select_from(GeneratedPicture).where(GeneratedPicture.generation_id == generation.id)
    ).scalar_one()
    rows = session.scalars(_pictures(generation.id).offset(page.offset).limit(page.limit)).all()
    return Paged(rows=rows, page=page, total=total)


def list_generations(
    session: Session, user_id: str, page: Page, *, project_id: str | None = None, status: str | None = None
) -> Paged[Generation]:
    """Return the user's generations, newest first."""
    mine = select(Generation).where(Generation.user_id == user_id)
    if project_id is not None:
        mine = mine.where(Generation.project_id == project_id)
    if status is not None:
        mine = mine.where(Generation.status == status)
    total = session.execute(select(func.count()).select_from(mine.subquery())).scalar_one()
    rows = session.scalars(
        mine.order_by(Generation.created_at.desc(), Generation.id.desc()).offset(page.offset).limit(page.limit)
    ).all()
    return Paged(rows=rows, page=page, total=total)


def _pictures(generation_id: str) -> Select[GeneratedPicture]:
    return (
        select(GeneratedPicture)
        .join(WorkItem, WorkItem.id == GeneratedPicture.work_item_id)
        .where(GeneratedPicture.generation_id == generation_id)
        .order_by(WorkItem.id)
    )
