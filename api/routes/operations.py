"""What operators ask: how the service is, and a round of recovery by hand."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from api.access import Administrator
from api.health import Health, health_of
from api.routes import POSE_GENERATOR
from api.service import Parts
from posegen.reconciler import reconcile_once

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"description": "The database is away: the same answer, with the status unhealthy"}
}
router = APIRouter(prefix=POSE_GENERATOR, tags=["operations"])


@router.get("/health", responses=_UNHEALTHY)
def health(service: Parts, response: Response) -> dict[str, Any]:
    """Tell how the service is; 503 when it cannot take orders."""
    told = health_of(service)
    if told["status"] == Health.UNHEALTHY:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    response.headers["Cache-Control"] = "no-store"
    return told


@router.post("/recovery/trigger")
def recover(_caller: Administrator, service: Parts) -> dict[str, Any]:
    """Return the pictures of dead workers to the queue now, and ring for what waits."""
    done = reconcile_once(service.announcer, witness_since=None)
    return {"success": True, "recovered": done.requeued, "failed": done.failed, "rung": done.rung}
