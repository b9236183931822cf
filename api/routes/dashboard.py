"""What the surrounding studio's frontend asks for its dashboard."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.access import CurrentUser
from api.routes.paging import PageLimit
from api.service import Parts
from api.wire.dashboard import APPS, AppsTold, DashboardTold, WorksTold
from posegen.accounts import user_by_id
from posegen.database import database_now
from posegen.statistics import statistics_of
from posegen.works import list_works

OLDEST_FIRST = {"oldest", "asc", "createdAt", "createdAt:asc", "created_at"}
"""Spellings of the one other order; everything else means newest first."""
router = APIRouter(prefix="/api", tags=["dashboard"])


@router.get("/apps")
def apps(_caller: CurrentUser) -> AppsTold:
    """Return the applications of this service."""
    return AppsTold(apps=list(APPS))


@router.get("/generations")
def generations(
    caller: CurrentUser,
    service: Parts,
    limit: PageLimit = 20,
    sort: Annotated[str, Query(max_length=40)] = "newest",
) -> WorksTold:
    """Return the caller's generations as tiles."""
    with service.database.reading() as session:
        found = list_works(session, caller.id, limit=limit, oldest_first=sort in OLDEST_FIRST)
        return WorksTold.of(found, service.links)


@router.get("/generations/recent")
def recent(caller: CurrentUser, service: Parts, limit: PageLimit = 5) -> WorksTold:
    """Return the caller's newest generations as tiles."""
    with service.database.reading() as session:
        return WorksTold.of(list_works(session, caller.id, limit=limit), service.links)


@router.get("/stats/dashboard")
def numbers(caller: CurrentUser, service: Parts) -> DashboardTold:
    """Tell the caller's numbers at a glance."""
    with service.database.reading() as session:
        user = user_by_id(session, caller.id)
        return DashboardTold.of(statistics_of(session, caller.id, now=database_now(session)), user)
