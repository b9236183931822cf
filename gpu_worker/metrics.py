"""What a worker tells Prometheus, if METRICS_PORT is set: its engine's work, beside what it did in the domain.

Several workers of one machine do not collide: each takes the port that its card's number adds to METRICS_PORT, or the
next free one, and says which in its row. It listens on this machine only, unless METRICS_HOST says otherwise.
"""

import hmac
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from models.requests import Finished, StepReport
from posegen.settings import Settings
from posegen.tallies import REGISTRY

log = structlog.get_logger()

PORTS_TRIED = 100
UNAUTHORIZED = "401 Unauthorized"

STEPS = Counter(
    "posegen_engine_steps",
    "Steps of pictures; skipped true: extrapolated instead of computed.",
    ["skipped"],
    registry=REGISTRY,
)
CALLS = Counter("posegen_engine_calls", "Calls of the engine, by what they did.", ["stage"], registry=REGISTRY)
BUSY = Counter("posegen_engine_busy_seconds", "Time that the engine worked.", registry=REGISTRY)
DENOISE = Histogram(
    "posegen_picture_denoise_seconds",
    "A finished picture's share of the forward passes it was in.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120),
    registry=REGISTRY,
)
POSE_SCORES = Histogram(
    "posegen_pose_score",
    "How closely delivered pictures hold their poses, 0 to 1; only those that were judged.",
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1),
    registry=REGISTRY,
)
REDRAWS = Counter(
    "posegen_redraws",
    "Pictures that were drawn once more for their pose's sake; kept: which of the two was delivered.",
    ["kept"],
    registry=REGISTRY,
)
ROWS = Gauge("posegen_engine_rows", "Pictures in the engine.", registry=REGISTRY)
MEMORY = Gauge("posegen_card_memory_used_bytes", "Card memory that this process has reserved.", registry=REGISTRY)
MEMORY_TOTAL = Gauge("posegen_card_memory_bytes", "Memory of its card.", registry=REGISTRY)


def count_call(report: StepReport) -> None:
    """Count one call of the engine."""
    CALLS.labels(stage=report.stage).inc()
    BUSY.inc(report.compute_s)
    STEPS.labels(skipped="false").inc(len(report.rows) + len(report.elsewhere))
    STEPS.labels(skipped="true").inc(len(report.skipped))
    for outcome in report.outcomes:
        if isinstance(outcome, Finished):
            DENOISE.observe(outcome.denoise_s)


def serve_metrics(settings: Settings, *, device: str) -> int | None:
    """Listen in a thread of its own until the process ends; return the port. None: it is off, or none is free."""
    if not settings.metrics_port:
        return None
    token = settings.metrics_token.get_secret_value()
    first = settings.metrics_port + _card_number(device)
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        try:
            server = make_server(
                settings.metrics_host, port, _guarded(token), server_class=_Server, handler_class=_Quiet
            )
        except OSError:
            continue  # another worker's
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        log.info("metrics.listening", host=settings.metrics_host, port=port)
        return port
    log.error("metrics.no_port", first=first, tried=PORTS_TRIED)
    return None


def _card_number(device: str) -> int:
    kind, _, number = device.partition(":")
    return int(number) if kind == "cuda" and number.isdecimal() else 0


def _guarded(token: str) -> Callable[..., Iterable[bytes]]:
    """Return the app: whoever sends the token, if there is one, is told everything."""
    told: Callable[..., Iterable[bytes]] = make_wsgi_app(REGISTRY)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_AUTHORIZATION", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            start_response(UNAUTHORIZED, [("WWW-Authenticate", "Bearer")])
            return [b"Send METRICS_TOKEN as the bearer token.\n"]
        return told(environ, start_response)

    return app


class _Server(ThreadingWSGIServer, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: it is asked every few seconds."""
