"""What Prometheus asks."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.metrics import check_reader, exposition
from api.service import Parts

router = APIRouter(tags=["operations"])


@router.get("/metrics", include_in_schema=False)
def metrics(service: Parts, request: Request) -> Response:
    """Tell Prometheus how things stand; docs/operations.md lists what."""
    check_reader(service.settings, request)
    return Response(exposition(service), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
