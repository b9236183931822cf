"""What operators and their monitors ask: how the service is."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from api.health import Health, health_of
from api.routes import POSE_GENERATOR
from api.service import Parts

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"description": "The database is away: the same answer, with the status unhealthy"}
}
router = APIRouter(prefix=POSE_GENERATOR, tags=["operations"])


@router.head("/health", include_in_schema=False)  # what many monitors and load balancers ask
@router.get("/health", responses=_UNHEALTHY)
def health(service: Parts, response: Response) -> dict[str, Any]:
    """Tell how the service is; 503 when it cannot take orders."""
    told = health_of(service)
    if told["status"] == Health.UNHEALTHY:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    response.headers["Cache-Control"] = "no-store"
    return told
