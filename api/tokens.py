"""Logins as JSON Web Tokens: HS256 with the studio's own secret and nothing else, and never without an end.

A studio's own backend may sign them too, with the same secret; there the user is `userId` or `id`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from api.errors import Unauthenticated
from posegen.settings import Settings

ALGORITHM = "HS256"
LONGEST_ID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a good token says."""

    user_id: str
    email: str | None


class Tokens:
    """Signs and reads logins."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        self._life = timedelta(seconds=settings.jwt_life_s)

    def issue(self, user_id: str, email: str) -> str:
        """Return a token for the user."""
        now = datetime.now(UTC)
        claims = {"userId": user_id, "email": email, "iat": now, "exp": now + self._life}
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> Claims:
        """Return what the token says. Raises Unauthenticated for a bad, unsigned, endless or expired one."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=[ALGORITHM], options={"require": ["exp"]})
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("Your login has expired; please log in again.") from error
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Unauthenticated("This login is not valid; please log in again.") from error
        return Claims(user_id=_user_id(claims), email=_text(claims.get("email")))


def _user_id(claims: dict[str, Any]) -> str:
    named = claims.get("userId", claims.get("id"))
    if isinstance(named, int):
        named = str(named)
    if not isinstance(named, str) or not 0 < len(named) <= LONGEST_ID or "\0" in named:
        raise Unauthenticated("This login names no user; please log in again.")
    return named


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
