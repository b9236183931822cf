"""People who log in. Passwords are argon2 hashes; an unknown e-mail takes as long to refuse as a wrong password.

Hashing takes tens of milliseconds on purpose, so it never happens in a writing transaction: hash first, then write;
check in a reading session, then note the login. It takes 64 MiB on purpose too, so few hash at once and others wait.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NewType

from pwdlib import PasswordHash
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from posegen.errors import BadInput, Conflict, EmailTaken, FieldProblem, LoginRefused, NotFound
from posegen.identifiers import new_id
from posegen.tables import User

HashedPassword = NewType("HashedPassword", str)
LEAST_PASSWORD_LENGTH = 12
LONGEST_EMAIL = 320
HASHED_AT_ONCE = 4
_HASHES = PasswordHash.recommended()
_HASHING = threading.BoundedSemaphore(HASHED_AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChanges:
    """What a user changes of their profile; None stays as it is. `proven` is the password hash that was proven."""

    name: str | None = None
    email: str | None = None
    password: HashedPassword | None = None
    proven: str | None = None


def hash_password(password: str, *, field: str = "password") -> HashedPassword:
    """Return the password's hash. Raises BadInput for a short one."""
    if len(password) < LEAST_PASSWORD_LENGTH:
        message = f"A password has at least {LEAST_PASSWORD_LENGTH} characters."
        raise BadInput(message, [FieldProblem(field=field, message=message)])
    with _HASHING:
        return HashedPassword(_HASHES.hash(password))


def register(session: Session, *, email: str, password: HashedPassword, name: str | None, now: datetime) -> User:
    """Create a user with no credits. Raises EmailTaken."""
    user = User(
        email=_normalised(email),
        name=name,
        password_hash=password,
        created_at=now,
        updated_at=now,
        last_login_at=now,
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        raise EmailTaken(email) from error
    return user


def check_login(session: Session, *, email: str, password: str) -> User:
    """Return the user these belong to. Writes nothing. Raises LoginRefused."""
    user = session.scalars(select(User).where(User.email == _normalised(email))).one_or_none()
    known = user.password_hash if user is not None else None
    with _HASHING:
        fits = _HASHES.verify(password, known or _hash_of_nobody())
    if user is None or user.password_hash is None or not fits:
        raise LoginRefused
    return user


def note_login(session: Session, user_id: str, *, now: datetime) -> User:
    """Remember when the user last logged in. Raises NotFound."""
    user = user_by_id(session, user_id)
    user.last_login_at = now
    return user


def provision(session: Session, user_id: str, *, email: str | None, now: datetime) -> User:
    """Return the user whom a studio's own backend calls so, created with no credits and no password if need be.

    Raises EmailTaken when somebody else here has that e-mail: an account is never taken over by its address.
    """
    # Without an e-mail it gets one that nobody can register beforehand.
    user = User(
        id=user_id,
        email=_normalised(email) if email and _keepable(email) else f"{new_id()}@no-email.invalid",
        created_at=now,
        updated_at=now,
        last_login_at=now,
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        known = session.get(User, user_id)
        if known is None:
            raise EmailTaken(user.email) from error
        return known
    return user


def prove(session: Session, user_id: str, *, password: str | None, email: str | None, new_password: bool) -> str | None:
    """Return the hash that the current password was proven against; None when the change needs no proof.

    A new e-mail or password needs one. Raises BadInput for a missing or wrong password, and for an account that has
    none because it logs in elsewhere. Writes nothing.
    """
    user = user_by_id(session, user_id)
    if not new_password and (email is None or _normalised(email) == user.email):
        return None
    if user.password_hash is None:
        raise _not_proven("This account logs in elsewhere; change its e-mail and password there.")
    if password is None:
        raise _not_proven("A new e-mail or password needs the current password too.")
    with _HASHING:
        fits = _HASHES.verify(password, user.password_hash)
    if not fits:
        raise _not_proven("The current password is wrong.")
    return user.password_hash


def change_profile(session: Session, user_id: str, changes: ProfileChanges, *, now: datetime) -> User:
    """Change a profile; a new password ends every login from before.

    Raises EmailTaken, and Conflict when the password changed since it was proven.
    """
    # A unique e-mail: changing it takes PostgreSQL's strongest lock, which taken late could meet an order half-way.
    found = select(User).where(User.id == user_id).with_for_update(key_share=changes.email is None)
    user = session.scalars(found.execution_options(populate_existing=True)).one_or_none()
    if user is None:
        raise NotFound("user", [user_id])
    if changes.proven is not None and changes.proven != user.password_hash:
        raise Conflict("Your password was changed just now; please try again.")
    try:
        with session.begin_nested():
            user.name = user.name if changes.name is None else changes.name.strip() or None
            user.email = user.email if changes.email is None else _normalised(changes.email)
            user.updated_at = now
            if changes.password is not None:
                _set_password(user, changes.password, now)
    except IntegrityError as error:
        raise EmailTaken(changes.email or user.email) from error
    return user


def reset_password(session: Session, *, email: str, password: HashedPassword, now: datetime) -> User:
    """Set a new password, which ends every login from before. Raises NotFound."""
    user = user_by_email(session, email)
    _set_password(user, password, now)
    user.updated_at = now
    return user


def logins_valid_from(session: Session, user_ids: Iterable[str]) -> dict[str, datetime | None]:
    """Return since when each user's logins are good, None for ever; unknown users are left out."""
    rows = session.execute(select(User.id, User.logins_valid_from).where(User.id.in_(sorted(user_ids))))
    return {row[0]: row[1] for row in rows}


def make_admin(session: Session, *, email: str, now: datetime) -> User:
    """Give the user the administrator's role. Raises NotFound."""
    user = user_by_email(session, email)
    user.role = "admin"
    user.updated_at = now
    return user


def user_by_email(session: Session, email: str) -> User:
    """Return the user. Raises NotFound."""
    user = session.scalars(select(User).where(User.email == _normalised(email))).one_or_none()
    if user is None:
        raise NotFound("user", [email])
    return user


def user_by_id(session: Session, user_id: str) -> User:
    """Return the user. Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("user", [user_id])
    return user


def _set_password(user: User, password: HashedPassword, now: datetime) -> None:
    """Set it. The time always grows, whatever the clock says, since logins remember which one they were made under."""
    before = user.logins_valid_from
    user.password_hash = password
    user.logins_valid_from = now if before is None or before < now else before + timedelta(microseconds=1)


def _not_proven(message: str) -> BadInput:
    return BadInput(message, [FieldProblem(field="currentPassword", message=message)])


def _keepable(email: str) -> bool:
    return len(email) <= LONGEST_EMAIL and "\0" not in email


def _normalised(email: str) -> str:
    return email.strip().lower()


@cache
def _hash_of_nobody() -> str:
    """Return what an unknown e-mail's password is compared with, so that it takes as long as a known one's."""
    return _HASHES.hash("nobody has this password")
