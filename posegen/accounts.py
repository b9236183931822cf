"""People who log in. Passwords are argon2 hashes; an unknown e-mail takes as long to refuse as a wrong password.

Hashing takes tens of milliseconds on purpose, so it never happens in a writing transaction: hash first, then write;
check in a reading session, then note the login.
"""

from datetime import datetime
from typing import NewType

from pwdlib import PasswordHash
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from posegen.errors import BadInput, EmailTaken, FieldProblem, LoginRefused, NotFound
from posegen.tables import User

HashedPassword = NewType("HashedPassword", str)
LEAST_PASSWORD_LENGTH = 12
_HASHES = PasswordHash.recommended()
_NOBODY = _HASHES.hash("nobody has this password")


def hash_password(password: str) -> HashedPassword:
    """Return the password's hash. Raises BadInput for a short one."""
    if len(password) < LEAST_PASSWORD_LENGTH:
        message = f"A password has at least {LEAST_PASSWORD_LENGTH} characters."
        raise BadInput(message, [FieldProblem(field="password", message=message)])
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
    fits = _HASHES.verify(password, user.password_hash if user and user.password_hash else _NOBODY)
    if user is None or user.password_hash is None or not fits:
        raise LoginRefused
    return user


def note_login(session: Session, user_id: str, *, now: datetime) -> User:
    """Remember when the user last logged in. Raises NotFound."""
    user = user_by_id(session, user_id)
    user.last_login_at = now
    return user


def reset_password(session: Session, *, email: str, password: HashedPassword, now: datetime) -> User:
    """Set a new password. Raises NotFound."""
    user = user_by_email(session, email)
    user.password_hash = password
    user.updated_at = now
    return user


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


def _normalised(email: str) -> str:
    return email.strip().lower()
