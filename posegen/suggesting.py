"""Poses for words, from the library as the database has it.

The ranking is made in Python from the rows (posegen.words), not by a database's full text search: a library holds
hundreds of poses, two engines would rank them in two ways, and only here is known which words are phrases of poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from posegen.tables import LibraryPose
from posegen.wording import check_wording
from posegen.words import Candidate, LibraryEntry, best_poses

MOST_SUGGESTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A candidate, and the stored preview of the library's pose where it was not changed."""

    candidate: Candidate
    preview_key: str | None


def suggest_poses(session: Session, text: str, *, limit: int) -> list[Suggestion]:
    """Return up to `limit` poses for the words, best first, at least one. Raises WordingRefused."""
    check_wording(text, field="text")
    entries, previews = _library(session)
    return [
        Suggestion(
            candidate=candidate,
            preview_key=previews.get(candidate.entry.slug) if candidate.is_unchanged else None,
        )
        for candidate in best_poses(text, entries, limit)
    ]


def best_pose(session: Session, text: str) -> Candidate:
    """Return the best pose for the words; the neutral one if they say nothing of a pose."""
    entries, _ = _library(session)
    return best_poses(text, entries, 1)[0]


def _library(session: Session) -> tuple[Sequence[LibraryEntry], dict[str, str | None]]:
    rows = session.execute(
        select(
            LibraryPose.id,
            LibraryPose.slug,
            LibraryPose.name,
            LibraryPose.description,
            LibraryPose.tags,
            LibraryPose.people,
            LibraryPose.preview_key,
        ).where(LibraryPose.is_public.is_(True))
    ).all()
    entries = [
        LibraryEntry(
            key=row.id,
            slug=row.slug,
            name=row.name,
            description=row.description,
            tags=tuple(row.tags),
            people=row.people,
        )
        for row in rows
    ]
    return entries, {row.slug: row.preview_key for row in rows}
