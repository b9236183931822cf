"""Logging in, and how many credits are left."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.access import CurrentUser
from api.profiles import change_profile
from api.service import Parts, Service
from api.wire.accounts import (
    Balance,
    BalanceTold,
    EntryTold,
    LoginBody,
    LoginTold,
    ProfileBody,
    ProfileTold,
    RegisterBody,
    UserAndToken,
    UserTold,
)
from posegen import accounts, ledger
from posegen.database import database_now
from posegen.tables import User

MOST_ENTRIES = 1000
router = APIRouter(prefix="/api", tags=["accounts"])


@router.post("/auth/register", status_code=HTTPStatus.CREATED)
def register(body: RegisterBody, request: Request, service: Parts) -> LoginTold:
    """Create an account with no credits, and log in."""
    service.rates.count_registration(_address(request))
    hashed = accounts.hash_password(body.password)
    with service.database.writing() as session:
        user = accounts.register(session, email=body.email, password=hashed, name=body.name, now=database_now(session))
    return LoginTold(data=_login(service, user, user.logins_valid_from))


@router.post("/auth/login")
def log_in(body: LoginBody, request: Request, service: Parts) -> LoginTold:
    """Log in."""
    service.rates.count_login(_address(request), body.email)
    with service.database.reading() as session:
        known = accounts.check_login(session, email=body.email, password=body.password)
    with service.database.writing() as session:
        user = accounts.note_login(session, known.id, now=database_now(session))
    return LoginTold(data=_login(service, user, known.logins_valid_from))


@router.get("/auth/profile")
def profile(caller: CurrentUser, service: Parts) -> ProfileTold:
    """Tell who is logged in, with a fresh token."""
    with service.database.reading() as session:
        user = accounts.user_by_id(session, caller.id)
    return ProfileTold.of(_login(service, user, caller.logins_valid_from))


@router.put("/auth/profile")
def put_profile(body: ProfileBody, caller: CurrentUser, service: Parts) -> ProfileTold:
    """Change name, e-mail or password, and go on with a fresh token: a new password ends every other login."""
    user = change_profile(service, caller, body)
    valid_from = caller.logins_valid_from if body.new_password is None else user.logins_valid_from
    return ProfileTold.of(_login(service, user, valid_from))


@router.get("/credits/balance")
def balance(caller: CurrentUser, service: Parts) -> BalanceTold:
    """Tell how many credits are left."""
    with service.database.reading() as session:
        return BalanceTold(data=Balance(balance=ledger.balance_of(session, caller.id)))


@router.get("/credits/history")
def history(
    caller: CurrentUser, service: Parts, limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = MOST_ENTRIES
) -> list[EntryTold]:
    """Return what changed the balance, newest first."""
    with service.database.reading() as session:
        return [EntryTold.of(entry) for entry in ledger.history(session, caller.id, limit=limit)]


def _login(service: Service, user: User, valid_from: datetime | None) -> UserAndToken:
    """Log in, as of when the user was proven: a password that changes meanwhile ends this login too."""
    return UserAndToken(user=UserTold.of(user), token=service.tokens.issue(user.id, user.email, valid_from))


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
