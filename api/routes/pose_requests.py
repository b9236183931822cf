"""Wishes for new library poses, as customers make and read them."""

from http import HTTPStatus

from fastapi import APIRouter

from api.access import CurrentUser
from api.routes import POSE_GENERATOR
from api.routes.paging import PageLimit, PageNumber, page_of
from api.service import Parts
from api.wire.pose_requests import OneRequestTold, RequestsTold, RequestTold, WishBody
from posegen.database import database_now
from posegen.pose_requests import create_request, list_requests
from posegen.statuses import PoseRequestStatus

router = APIRouter(prefix=f"{POSE_GENERATOR}/requests", tags=["library"])


@router.post("", status_code=HTTPStatus.CREATED)
def create(body: WishBody, caller: CurrentUser, service: Parts) -> OneRequestTold:
    """Ask for a pose that the library lacks."""
    with service.database.writing() as session:
        row = create_request(session, caller.id, body.wish(), now=database_now(session))
    return OneRequestTold(request=RequestTold.of(row), message="Thank you; the pose was asked for.")


@router.get("")
def requests(
    caller: CurrentUser,
    service: Parts,
    status: PoseRequestStatus | None = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
) -> RequestsTold:
    """Return a page of the caller's wishes, newest first."""
    with service.database.reading() as session:
        return RequestsTold.of(list_requests(session, caller.id, page_of(page, limit), status=status))
