"""Ordering pictures, and following, reading and cancelling an order."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.access import CurrentUser
from api.ordering import TakenOrder, give_quote, take_order, take_retry
from api.rates import headers_of
from api.routes import POSE_GENERATOR
from api.routes.paging import PageLimit, PageNumber, page_of
from api.service import Parts
from api.wire.generations import GenerationAndProgress, GenerationsTold, PicturesTold, ResultsTold
from api.wire.orders import GenerateBody, OrderTold, QuoteTold
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.finishing import cancel_generation
from posegen.generations import list_generations, owned_generation, page_of_pictures, pictures_of, progress_of
from posegen.statuses import GenerationStatus

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="One fresh value an order, such as a UUID: sent again with the same body it gives the same answer "
        "and charges nothing more.",
    ),
]
router = APIRouter(prefix=POSE_GENERATOR, tags=["generations"])


@router.post("/generate", status_code=HTTPStatus.ACCEPTED)
def generate(
    body: GenerateBody,
    caller: CurrentUser,
    service: Parts,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> OrderTold:
    """Order pictures of poses; they are paid for now and drawn as soon as a worker is free."""
    return _told(take_order(service, caller, body.order(), idempotency_key=idempotency_key), response)


@router.post("/generate/quote")
def quote(body: GenerateBody, caller: CurrentUser, service: Parts) -> QuoteTold:
    """Tell what an order would cost and how long it would take, without placing it."""
    return QuoteTold.of(give_quote(service, caller, body.order()))


@router.get("/generations")
def generations(
    caller: CurrentUser,
    service: Parts,
    project_id: Annotated[str | None, Query(alias="projectId", max_length=64)] = None,
    status: GenerationStatus | None = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
) -> GenerationsTold:
    """Return a page of the caller's generations, newest first."""
    with service.database.reading() as session:
        found = list_generations(session, caller.id, page_of(page, limit), project_id=project_id or None, status=status)
        return GenerationsTold.of(found)


@router.get("/generations/{generation_id}")
def generation(generation_id: str, caller: CurrentUser, service: Parts) -> GenerationAndProgress:
    """Return a generation and how far it is."""
    with service.database.reading() as session:
        row = owned_generation(session, caller.id, generation_id)
        return GenerationAndProgress.of(row, progress_of(session, row, now=database_now(session)))


@router.get("/generations/{generation_id}/results")
def results(generation_id: str, caller: CurrentUser, service: Parts) -> ResultsTold:
    """Return every picture that is final so far."""
    with service.database.reading() as session:
        row = owned_generation(session, caller.id, generation_id)
        return ResultsTold.of(row, pictures_of(session, row), service.links)


@router.get("/generations/{generation_id}/poses")
def pictures(
    generation_id: str, caller: CurrentUser, service: Parts, page: PageNumber = 1, limit: PageLimit = 20
) -> PicturesTold:
    """Return a page of the pictures that are final so far."""
    with service.database.reading() as session:
        row = owned_generation(session, caller.id, generation_id)
        return PicturesTold.of(page_of_pictures(session, row, page_of(page, limit)), service.links)


@router.post("/generations/{generation_id}/cancel")
def cancel(generation_id: str, caller: CurrentUser, service: Parts) -> GenerationAndProgress:
    """Stop what has not been delivered yet, and refund exactly that."""
    with service.announcer.writing(Act.COMMIT_CANCEL) as session:
        now = database_now(session)
        row = cancel_generation(session, generation_id, caller.id, now=now)
        progress = progress_of(session, row, now=now)
    return GenerationAndProgress.of(row, progress)


@router.post("/generations/{generation_id}/retry", status_code=HTTPStatus.ACCEPTED)
def retry(
    generation_id: str,
    caller: CurrentUser,
    service: Parts,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> OrderTold:
    """Order the failed pictures again, at today's price and with other seeds; none of them is ever ordered twice."""
    return _told(take_retry(service, caller, generation_id, idempotency_key=idempotency_key), response)


def _told(taken: TakenOrder, response: Response) -> OrderTold:
    response.headers["Location"] = f"{POSE_GENERATOR}/generations/{taken.placed.generation_id}"
    if taken.standings:
        response.headers.update(headers_of(taken.standings))
    return OrderTold.of(taken.placed)
