"""A generation as it is now, with the place in its user's events from which a listener goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from posegen.errors import NotFound
from posegen.events import newest_event_id
from posegen.generations import Progress, pictures_of, progress_of
from posegen.statuses import FINAL_GENERATION_STATUSES
from posegen.tables import GeneratedPicture, Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a listener is told first. Events after `event_id` may be in it already, but none is missing."""

    event_id: int
    generation: Generation
    pictures: Sequence[GeneratedPicture]
    progress: Progress

    @property
    def is_final(self) -> bool:
        """Tell whether nothing more will happen."""
        return self.generation.status in FINAL_GENERATION_STATUSES


def snapshot_of(session: Session, generation_id: str, *, now: datetime) -> Snapshot:
    """Return the generation, whoever's it is: only for who knows its unguessable id. Raises NotFound."""
    generation = session.get(Generation, generation_id)
    if generation is None:
        raise NotFound("generation", [generation_id])
    event_id = newest_event_id(session, generation.user_id)
    # The number was read first: what happens between the two is in the rows, and told once more afterwards.
    session.refresh(generation)
    return Snapshot(
        event_id=event_id,
        generation=generation,
        pictures=pictures_of(session, generation),
        progress=progress_of(session, generation, now=now),
    )
