"""The outermost layer of the app: every HTTP request gets an id, one line in the log and a place in the counts.

The id is the caller's X-Request-Id when it is fit for a log, else a fresh one. It stands in the answer, in every line
that is logged on the request's behalf, and with an order, so that its worker can log it too. A line names the route
as it is written in the code, never the address: addresses hold signed links, and queries hold whatever people type.
"""

import re
from time import perf_counter

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posegen.identifiers import new_id
from posegen.tallies import REGISTRY

log = structlog.get_logger()

HEADER = "X-Request-Id"
LONGEST_ID = 64
UNMATCHED = "unmatched"
QUIET = ("/metrics", "/api/apps/pose-generator/health")
"""Asked by machines every few seconds: counted, and logged only when they fail."""
_FIT = re.compile(rf"[A-Za-z0-9._:-]{{1,{LONGEST_ID}}}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BOUND = "request_id"

REQUESTS = Counter(
    "posegen_http_requests",
    "HTTP requests by route template; status gone: the client left before an answer.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "posegen_http_request_duration_seconds",
    "Time from a request's head to the end of its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)


def current_request_id() -> str | None:
    """Return the id of the request that this code runs for."""
    return structlog.contextvars.get_contextvars().get(_BOUND)


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request met, as `/api/.../{id}`."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))


class RequestLog:
    """Wraps the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        began = perf_counter()
        status: int | None = None

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(**{_BOUND: request_id}):
            try:
                await self.app(scope, receive, tell)
            finally:
                _note(scope, status, perf_counter() - began)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(HEADER, "")
    return given if _FIT.fullmatch(given) else new_id()


def _note(scope: Scope, status: int | None, duration_s: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = route_of(scope)
    REQUESTS.labels(method=method, route=route, status=str(status or "gone")).inc()
    SECONDS.labels(method=method, route=route).observe(duration_s)
    if route not in QUIET or status is None or status >= 400:
        log.info("request.served", method=method, route=route, status=status, duration_s=round(duration_s, 4))
