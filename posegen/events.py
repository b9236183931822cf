"""What the frontend is told: rows written in the transaction of what they tell, numbered per user without gaps.

The Redis channel only hurries them; whoever listens reads SQL from the last number it has seen, so a lost message is
never a lost event. Payloads hold object keys, not URLs: links are signed anew each time an event is told.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from posegen.errors import NotFound
from posegen.statuses import EventType
from posegen.tables import User, UserEvent
from posegen.tallies import EVENTS, happened

EVENTS_KEPT = timedelta(hours=24)
"""How long a client may be away and still be sent what it missed."""
_RECORDED = "recorded_events"
_KEYS_TO_URLS = {"outputKey": "outputImageUrl", "thumbnailKey": "thumbnailUrl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """One event of one user. `payload` is camelCase as on the wire, but with object keys instead of URLs."""

    user_id: str
    event_id: int
    generation_id: str | None
    type: str
    payload: Mapping[str, Any]
    created_at: datetime

    def on_the_wire(self, url_of: Callable[[str], str]) -> dict[str, Any]:
        """Return the message as the frontend reads it; `url_of` signs an object key."""
        told = {
            _KEYS_TO_URLS.get(name, name): url_of(value) if name in _KEYS_TO_URLS and value else value
            for name, value in self.payload.items()
        }
        return {
            "type": self.type,
            "generationId": self.generation_id,
            "userId": self.user_id,
            "timestamp": self.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "eventId": self.event_id,
            **told,
        }


def record_event(
    session: Session, user_id: str, generation_id: str, type_: EventType, payload: Mapping[str, Any], *, now: datetime
) -> EventMessage:
    """Write the user's next event. Locks the user's row, so it comes last (after generation and items)."""
    number = session.execute(
        update(User)
        .where(User.id == user_id)
        .values(event_counter=User.event_counter + 1)
        .returning(User.event_counter)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    event = EventMessage(
        user_id=user_id,
        event_id=number,
        generation_id=generation_id,
        type=type_.value,
        payload=dict(payload),
        created_at=now,
    )
    session.execute(
        insert(UserEvent).values(
            user_id=user_id,
            event_id=number,
            generation_id=generation_id,
            type=event.type,
            payload=event.payload,
            created_at=now,
        )
    )
    session.info.setdefault(_RECORDED, []).append(event)
    happened(session, EVENTS, type=event.type)
    return event


def recorded_events(session: Session) -> list[EventMessage]:
    """Return what this session recorded, for whoever commits to announce afterwards."""
    return list(session.info.get(_RECORDED, []))


def newest_event_id(session: Session, user_id: str) -> int:
    """Return the number of the user's last event, 0 before the first. Raises NotFound for an unknown user."""
    number = session.execute(select(User.event_counter).where(User.id == user_id)).scalar_one_or_none()
    if number is None:
        raise NotFound("user", [user_id])
    return number


def newest_event_ids(session: Session, user_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of each user's last event; unknown users are left out."""
    rows = session.execute(select(User.id, User.event_counter).where(User.id.in_(sorted(user_ids))))
    return {row[0]: row[1] for row in rows}


def events_after(session: Session, user_id: str, event_id: int, *, limit: int = 200) -> list[EventMessage]:
    """Return the user's events after `event_id`, oldest first, at most `limit`."""
    rows = session.scalars(
        select(UserEvent)
        .where(UserEvent.user_id == user_id, UserEvent.event_id > event_id)
        .order_by(UserEvent.event_id)
        .limit(limit)
    )
    return [
        EventMessage(
            user_id=row.user_id,
            event_id=row.event_id,
            generation_id=row.generation_id,
            type=row.type,
            payload=row.payload,
            created_at=row.created_at,
        )
        for row in rows
    ]


def is_replayable(session: Session, user_id: str, event_id: int) -> bool:
    """Tell whether everything after `event_id` is still kept. A number from the future is not (another database)."""
    newest = newest_event_id(session, user_id)
    if event_id < 0 or event_id >= newest:
        return event_id == newest
    # Counted, for pruning goes by time: of two neighbours the older number may be the younger row.
    kept = session.execute(
        select(func.count())
        .select_from(UserEvent)
        .where(UserEvent.user_id == user_id, UserEvent.event_id > event_id, UserEvent.event_id <= newest)
    ).scalar_one()
    return kept == newest - event_id


def prune_events(session: Session, *, now: datetime) -> int:
    """Delete events older than a day; return how many."""
    return session.execute(delete(UserEvent).where(UserEvent.created_at < now - EVENTS_KEPT)).rowcount  # type: ignore[attr-defined, no-any-return]
