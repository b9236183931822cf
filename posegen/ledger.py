"""Credits: a ledger that only grows, and a balance column changed in the same transaction.

A debit is one conditional UPDATE, never read-then-write, so two orders at once cannot spend the same credits. Each
entry's (reference, type, part) is unique in SQL, so a repeated charge or refund breaks its transaction, not the sum.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from posegen.errors import BadInput, NotEnoughCredits, NotFound
from posegen.identifiers import new_id
from posegen.statuses import EntryType
from posegen.tables import LedgerEntry, User

ORDER_PART = "order"
"""The part of an order's one usage entry; refunds have their picture's part."""


def balance_of(session: Session, user_id: str) -> int:
    """Return the user's credits. Raises NotFound."""
    balance = session.execute(select(User.credit_balance).where(User.id == user_id)).scalar_one_or_none()
    if balance is None:
        raise NotFound("user", [user_id])
    return balance


def history(session: Session, user_id: str, *, limit: int) -> Sequence[LedgerEntry]:
    """Return the user's newest entries, newest first."""
    return session.scalars(
        select(LedgerEntry)
        .where(LedgerEntry.user_id == user_id)
        .order_by(LedgerEntry.created_at.desc(), LedgerEntry.id.desc())
        .limit(limit)
    ).all()


def charge(
    session: Session, user_id: str, amount_credits: int, *, reference: str, part: str, description: str, now: datetime
) -> int:
    """Take credits and return the balance left. Raises NotEnoughCredits (nothing changed) or NotFound."""
    left = session.execute(
        update(User)
        .where(User.id == user_id, User.credit_balance >= amount_credits)
        .values(credit_balance=User.credit_balance - amount_credits)
        .returning(User.credit_balance)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if left is None:
        raise NotEnoughCredits(required=amount_credits, balance=balance_of(session, user_id))
    _enter(session, user_id, EntryType.USAGE, -amount_credits, reference, part, description, now)
    return left


def refund(
    session: Session, user_id: str, amount_credits: int, *, reference: str, part: str, description: str, now: datetime
) -> None:
    """Give back what one picture cost. A second refund of the same part breaks the transaction (unique in SQL)."""
    if amount_credits:
        _add(session, user_id, EntryType.REFUND, amount_credits, reference, part, description, now)


def grant(session: Session, user_id: str, amount_credits: int, *, description: str, now: datetime) -> int:
    """Give credits and return the new balance. Raises BadInput for an amount below 1, NotFound for the user."""
    if amount_credits < 1:
        raise BadInput("A grant is at least 1 credit.")
    return _add(session, user_id, EntryType.BONUS, amount_credits, new_id(), "grant", description, now)


def _add(
    session: Session,
    user_id: str,
    type_: EntryType,
    amount_credits: int,
    reference: str,
    part: str,
    description: str,
    now: datetime,
) -> int:
    balance = session.execute(
        update(User)
        .where(User.id == user_id)
        .values(credit_balance=User.credit_balance + amount_credits)
        .returning(User.credit_balance)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if balance is None:
        raise NotFound("user", [user_id])
    _enter(session, user_id, type_, amount_credits, reference, part, description, now)
    return balance


def _enter(
    session: Session,
    user_id: str,
    type_: EntryType,
    amount_credits: int,
    reference: str,
    part: str,
    description: str,
    now: datetime,
) -> None:
    session.add(
        LedgerEntry(
            user_id=user_id,
            type=type_,
            amount_credits=amount_credits,
            reference=reference,
            part=part,
            description=description,
            created_at=now,
        )
    )
    session.flush()
