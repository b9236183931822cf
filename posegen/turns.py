"""Who does the daily chores: nobody leads, and of all processes on all hosts one gets the day's turn.

The turn is a row that can be inserted once. It stands among the stored objects, which are only ever read by key, under
a name that no file has; it is written once a day and is nobody's hot row.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from posegen.tables import StoredObject

_TURNS = "upkeep/"


def is_taken(session: Session, *, now: datetime) -> bool:
    """Tell whether somebody has the day's turn. Writes nothing."""
    return session.get(StoredObject, _turn(now)) is not None


def take_turn(session: Session, *, now: datetime) -> bool:
    """Take the day's turn; False when somebody has it already. Forgets those of the days before."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    won = session.execute(
        insert(StoredObject)
        .values(key=_turn(now), content_type="application/x-empty", size_bytes=0, created_at=now)
        .on_conflict_do_nothing()
        .returning(StoredObject.key)
    ).scalar_one_or_none()
    if won is None:
        return False
    session.execute(
        delete(StoredObject)
        .where(StoredObject.key.between(_TURNS, _turn(now - timedelta(days=1))))
        .execution_options(synchronize_session=False)
    )
    return True


def is_turn(key: str) -> bool:
    """Tell whether the row of this key is a day's turn, with no file behind it."""
    return key.startswith(_TURNS)


def _turn(now: datetime) -> str:
    return f"{_TURNS}{now:%Y-%m-%d}"
