"""Idempotency-Keys of calls that spend: a repeat is answered as the first call was, and spends nothing.

The key is written in the spending transaction, before anything else, and its answer at the end: a twin at the same
time waits for the first one, a refused call leaves no key behind, and a restart forgets nothing. A key belongs to one
user, one kind of call and one body; used for anything else it is a mismatch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from posegen.errors import BadInput, FieldProblem, IdempotencyMismatch
from posegen.tables import IdempotencyKey

LONGEST_KEY = 255
KEPT_FOR = timedelta(days=7)
"""A key may be used afresh after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable:
    """One spending call with its key: who calls what (`generate`), and everything that was asked for."""

    user_id: str
    key: str
    call: str
    asked: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """What a repeat must have in common. Fields that say nothing are left out, so that new ones change no key."""
        said = {name: value for name, value in self.asked.items() if value not in (None, (), [], {})}
        return hashlib.sha256(json.dumps([self.call, said], sort_keys=True).encode()).hexdigest()


def first_answer(session: Session, repeatable: Repeatable, *, now: datetime) -> dict[str, Any] | None:
    """Return what the first call with this key was answered; None for the first itself, which then keeps its answer.

    Waits for a twin that is under way. Raises BadInput for a key that cannot be kept, IdempotencyMismatch.
    """
    if not 1 <= len(repeatable.key) <= LONGEST_KEY:
        message = f"An Idempotency-Key has 1 to {LONGEST_KEY} characters."
        raise BadInput(message, [FieldProblem(field="Idempotency-Key", message=message)])
    while not _reserve(session, repeatable, now):
        row = session.get(IdempotencyKey, (repeatable.user_id, repeatable.key), populate_existing=True)
        if row is None:
            continue  # it was forgotten between the two statements, and is free again
        if row.body_sha256 != repeatable.sha256 or row.answer is None:
            raise IdempotencyMismatch(repeatable.key)
        return row.answer
    return None


def keep_answer(session: Session, repeatable: Repeatable, answer: Mapping[str, Any]) -> None:
    """Keep the answer of the first call, in its transaction."""
    session.get_one(IdempotencyKey, (repeatable.user_id, repeatable.key)).answer = dict(answer)


def prune_keys(session: Session, *, now: datetime) -> None:
    """Delete keys that are older than a repeat can be."""
    session.execute(
        delete(IdempotencyKey)
        .where(IdempotencyKey.created_at < now - KEPT_FOR)
        .execution_options(synchronize_session=False)
    )


def _reserve(session: Session, repeatable: Repeatable, now: datetime) -> bool:
    """Write the key; False when it is there already, which is known only after the end of a twin's transaction."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    reserved = session.execute(
        insert(IdempotencyKey)
        .values(
            user_id=repeatable.user_id,
            key=repeatable.key,
            body_sha256=repeatable.sha256,
            answer=None,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    ).scalar_one_or_none()
    return reserved is not None
