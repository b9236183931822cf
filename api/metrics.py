"""What an API process tells Prometheus: its own counters, and the queue and the workers as SQL has them right now.

Who may read it: this machine alone, or, once METRICS_TOKEN is set, whoever sends it. What is told names hosts, devices
and figures of the business, so it is not for every customer; it names no customer, no order and no words.
"""

import hmac
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from fastapi import Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.errors import Forbidden, Unauthenticated
from api.service import Service
from posegen.bell import Bell
from posegen.database import Database, database_now
from posegen.errors import BellAway, DatabaseAway
from posegen.overview import Overview, is_alive, read_overview, slots
from posegen.settings import Settings
from posegen.tables import WorkerRow
from posegen.tallies import REGISTRY
from posegen.workforce import drawing_of

_SLOT = ("host", "device")
WORKER_GAUGES: Sequence[tuple[str, str, Callable[[WorkerRow], float | None]]] = (
    ("posegen_worker_rows", "Pictures in the worker's engine.", lambda row: row.rows_active),
    ("posegen_worker_rows_most", "Most pictures in one of its forward passes.", lambda row: row.max_batch),
    ("posegen_worker_steps_per_second", "Steps of pictures per busy second.", lambda row: row.steps_per_s),
    ("posegen_worker_pictures_per_second", "Pictures per busy second.", lambda row: row.pictures_per_s),
    ("posegen_worker_busy_ratio", "Share of time in which its engine worked, 0 to 1.", lambda row: row.busy_share),
    ("posegen_worker_memory_used_bytes", "Card memory that it has reserved.", lambda row: row.memory_bytes),
    ("posegen_worker_memory_bytes", "Memory of its card.", lambda row: drawing_of(row).memory_total_bytes),
)
"""Of each live worker, by host and device: its last heartbeat's figures."""
_INFO = ("profile", "status", "backend", "precision", "cache", "attention")


def check_reader(settings: Settings, request: Request) -> None:
    """Return if this caller may read. Raises Unauthenticated or Forbidden."""
    token = settings.metrics_token.get_secret_value()
    if token:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise Unauthenticated("Send METRICS_TOKEN as the bearer token.")
    elif not _is_here(request):
        raise Forbidden("Without METRICS_TOKEN only this machine may read the metrics.")


def exposition(service: Service) -> bytes:
    """Return everything in Prometheus' text format. A database or a Redis that is away is told of, and no error."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Now(service.database, service.bell))
    return generate_latest(REGISTRY) + generate_latest(registry)


def _is_here(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


class _Now(Collector):
    """How things stand at the moment of the scrape."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    def collect(self) -> Iterator[GaugeMetricFamily]:
        overview: Overview | None = None
        try:
            with self._database.reading() as session:
                overview = read_overview(session, now=database_now(session))
        except DatabaseAway:
            pass
        yield _gauge("posegen_database_up", "1 when the database answers.", float(overview is not None))
        yield from self._redis()
        if overview is not None:
            yield from _queue(overview)
            yield from _workers(overview)

    def _redis(self) -> Iterator[GaugeMetricFamily]:
        try:
            rings: int | None = self._bell.waiting()
        except BellAway:
            rings = None
        yield _gauge("posegen_redis_up", "1 when Redis answers.", float(rings is not None))
        if rings is not None:
            yield _gauge("posegen_rings_waiting", "Rings that no worker has heard yet.", rings)


def _gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_, value=value)


def _queue(overview: Overview) -> Iterator[GaugeMetricFamily]:
    waiting = GaugeMetricFamily("posegen_queue_pictures", "Pictures that wait to be drawn.", labels=["profile"])
    oldest = GaugeMetricFamily(
        "posegen_queue_oldest_age_seconds", "How long the first in line has waited.", labels=["profile"]
    )
    drawing = GaugeMetricFamily("posegen_drawing_pictures", "Pictures that a worker holds.", labels=["profile"])
    for line in overview.lines:
        waiting.add_metric([line.profile], line.waiting)
        oldest.add_metric([line.profile], line.oldest_s or 0.0)
        drawing.add_metric([line.profile], line.drawing)
    yield from (waiting, oldest, drawing)
    yield _gauge("posegen_queue_photos", "Photos that wait to be turned into poses.", overview.photos_waiting)


def _workers(overview: Overview) -> Iterator[GaugeMetricFamily]:
    alive = slots([worker for worker in overview.workers if is_alive(worker, now=overview.now)])
    info = GaugeMetricFamily("posegen_worker_info", "1 for each live worker.", labels=[*_SLOT, *_INFO])
    heard = GaugeMetricFamily(
        "posegen_worker_heartbeat_age_seconds", "Time since the worker was heard.", labels=list(_SLOT)
    )
    for device, row in alive:
        drawing = drawing_of(row)
        said = (row.profile, row.status, drawing.backend, drawing.precision, drawing.cache, drawing.attention)
        info.add_metric([row.host, device, *(word or "" for word in said)], 1)
        heard.add_metric([row.host, device], max(0.0, (overview.now - row.heartbeat_at).total_seconds()))
    yield from (info, heard)
    for name, help_, figure in WORKER_GAUGES:
        family = GaugeMetricFamily(name, help_, labels=list(_SLOT))
        for device, row in alive:
            value = figure(row)
            if value is not None:
                family.add_metric([row.host, device], value)
        yield family
