"""Logins as JSON Web Tokens: HS256 with the studio's own secret and nothing else, and never without an end.

A studio's own backend may sign them too, with the same secret; there the user is `userId` or `id`.

A change of the password ends every login from before. Ours say in `loginsFrom` under which change they were made, so
that is exact, whatever the clocks of several hosts say and although `iat` counts whole seconds. Other tokens go by
`iat`: one of the second of the change is still good, and one that does not say when it was made is not, once its user
has changed a password here. Whoever never did so needs no `iat`.

What else a backend writes into its tokens (an audience, a subject of its own kind, a clock that is ahead) is its own
affair and no reason to turn its users away.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from api.errors import Unauthenticated
from posegen.settings import Settings

ALGORITHM = "HS256"
LONGEST_ID = 64
_CHECKS: Options = {
    "require": ["exp"],
    "verify_aud": False,
    "verify_iat": False,
    "verify_jti": False,
    "verify_sub": False,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a good token says: of whom, until when and, as far as it tells, since when and of which password."""

    user_id: str
    email: str | None
    expires_at_s: int
    issued_at_s: int | None
    logins_from_us: int | None

    def is_ended(self, valid_from: datetime | None) -> bool:
        """Tell whether the user's password was changed after this login. valid_from: of the user, None for never."""
        if valid_from is None:
            return False
        if self.logins_from_us is not None:
            return self.logins_from_us < _microseconds(valid_from)
        return self.issued_at_s is None or self.issued_at_s < _microseconds(valid_from) // 1_000_000


class Tokens:
    """Signs and reads logins."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        self._life = timedelta(seconds=settings.jwt_life_s)

    def issue(self, user_id: str, email: str, valid_from: datetime | None = None) -> str:
        """Return a token for the user. valid_from: of the user, as it was when they proved who they are."""
        now = datetime.now(UTC)
        claims = {
            "userId": user_id,
            "email": email,
            "iat": now,
            "exp": now + self._life,
            "loginsFrom": _microseconds(valid_from),
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> Claims:
        """Return what the token says. Raises Unauthenticated for a bad, unsigned, endless or expired one."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=[ALGORITHM], options=_CHECKS)
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("Your login has expired; please log in again.") from error
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Unauthenticated("This login is not valid; please log in again.") from error
        return Claims(
            user_id=_user_id(claims),
            email=_text(claims.get("email")),
            expires_at_s=int(claims["exp"]),
            issued_at_s=_whole(claims.get("iat")),
            logins_from_us=_whole(claims.get("loginsFrom")),
        )


def _user_id(claims: dict[str, Any]) -> str:
    named = claims.get("userId")
    if named is None:
        named = claims.get("id")
    if isinstance(named, int):
        named = str(named)
    if not isinstance(named, str) or not 0 < len(named) <= LONGEST_ID or "\0" in named:
        raise Unauthenticated("This login names no user; please log in again.")
    return named


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    """Read a number of a token; None for anything that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value)


def _microseconds(valid_from: datetime | None) -> int:
    return 0 if valid_from is None else (valid_from - _EPOCH) // timedelta(microseconds=1)
