"""Who is calling: the bearer token, and the user it names as SQL knows them now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.errors import Forbidden, Unauthenticated
from api.service import Parts, Service
from api.tokens import Claims
from posegen.accounts import provision, user_by_id
from posegen.database import database_now
from posegen.errors import EmailTaken, NotFound
from posegen.tables import User

ADMIN = "admin"
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="The token of /api/auth/login")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user who is logged in. `logins_valid_from` is what it was then: of a change since, this login knows nothing.

    `expires_at_s` is when the login ends by itself, in seconds since 1970.
    """

    id: str
    email: str
    name: str | None
    role: str
    logins_valid_from: datetime | None
    expires_at_s: int


def caller_of(service: Service, token: str) -> Caller:
    """Return the user a token stands for.

    Raises Unauthenticated, also for a user that does not exist (any more) or has changed the password since.

    With AUTH_AUTO_PROVISION a user that only the studio's own backend knows is created at first sight.
    """
    claims = service.tokens.read(token)
    try:
        with service.database.reading() as session:
            user = user_by_id(session, claims.user_id)
    except NotFound as error:
        if not service.settings.auth_auto_provision:
            raise Unauthenticated("This login belongs to nobody here; please log in again.") from error
        user = _provisioned(service, claims)
    if claims.is_ended(user.logins_valid_from):
        raise Unauthenticated("Your password was changed; please log in again.")
    return Caller(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        logins_valid_from=user.logins_valid_from,
        expires_at_s=claims.expires_at_s,
    )


def _provisioned(service: Service, claims: Claims) -> User:
    try:
        with service.database.writing() as session:
            return provision(session, claims.user_id, email=claims.email, now=database_now(session))
    except EmailTaken as error:
        raise Unauthenticated("Another account here has the e-mail of this login; please ask your operator.") from error


def current_user(
    service: Parts, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Return who is calling. Raises Unauthenticated."""
    if credentials is None:
        raise Unauthenticated
    return caller_of(service, credentials.credentials)


CurrentUser = Annotated[Caller, Depends(current_user)]
"""A route for somebody who is logged in."""


def administrator(caller: CurrentUser) -> Caller:
    """Return who is calling, an administrator. Raises Forbidden."""
    if caller.role != ADMIN:
        raise Forbidden
    return caller


Administrator = Annotated[Caller, Depends(administrator)]
"""A route for administrators."""
