"""A customer's generations as the studio's dashboard shows them: with their project's name and their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from posegen.tables import GeneratedPicture, Generation, Project

MOST_PICTURES = 50
"""So many pictures of one generation are listed; the count tells the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One generation with its first delivered pictures."""

    generation: Generation
    project_name: str
    pictures: Sequence[GeneratedPicture]


def list_works(session: Session, user_id: str, *, limit: int, oldest_first: bool = False) -> list[Work]:
    """Return the user's generations, newest first unless told otherwise."""
    age = (Generation.created_at, Generation.id)
    rows = session.execute(
        select(Generation, Project.project_name)
        .join(Project, Project.id == Generation.project_id)
        .where(Generation.user_id == user_id)
        .order_by(*(age if oldest_first else (column.desc() for column in age)))
        .limit(limit)
    ).all()
    pictures = _pictures(session, [row[0].id for row in rows])
    return [Work(generation=row[0], project_name=row[1], pictures=pictures.get(row[0].id, ())) for row in rows]


def _pictures(session: Session, generation_ids: Sequence[str]) -> dict[str, list[GeneratedPicture]]:
    place = func.row_number().over(
        partition_by=GeneratedPicture.generation_id, order_by=(GeneratedPicture.created_at, GeneratedPicture.id)
    )
    placed = (
        select(GeneratedPicture.id, place.label("place"))
        .where(GeneratedPicture.generation_id.in_(generation_ids), GeneratedPicture.status == "completed")
        .subquery()
    )
    found: dict[str, list[GeneratedPicture]] = {}
    for picture in session.scalars(
        select(GeneratedPicture)
        .join(placed, placed.c.id == GeneratedPicture.id)
        .where(placed.c.place <= MOST_PICTURES)
        .order_by(placed.c.place)
    ):
        found.setdefault(picture.generation_id, []).append(picture)
    return found
