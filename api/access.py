"""Who is calling: the bearer token, and the user it names as SQL knows them now."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.errors import Forbidden, Unauthenticated
from api.service import Parts, Service
from posegen.accounts import user_by_id
from posegen.errors import NotFound

ADMIN = "admin"
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="The token of /api/auth/login")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user who is logged in."""

    id: str
    email: str
    name: str | None
    role: str


def caller_of(service: Service, token: str) -> Caller:
    """Return the user a token stands for. Raises Unauthenticated, also for a user that does not exist (any more)."""
    claims = service.tokens.read(token)
    with service.database.reading() as session:
        try:
            user = user_by_id(session, claims.user_id)
        except NotFound as error:
            raise Unauthenticated("This login belongs to nobody here; please log in again.") from error
        return Caller(id=user.id, email=user.email, name=user.name, role=user.role)


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
