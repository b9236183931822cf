"""How the service is, as an operator's monitor and the frontend ask it: never an error, always an answer.

Without the database nothing works (unhealthy, 503). Without Redis or without a worker for their profile orders are
taken and wait (degraded): that is no reason for a load balancer to take the API out.
"""

from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from api.service import Service
from api.wire.base import iso
from models.profiles import PROFILES
from posegen.database import database_now
from posegen.detections import detector_of
from posegen.errors import BellAway, DatabaseAway
from posegen.pose_control import follows_poses, hosted_of, undrawable
from posegen.statuses import WorkerStatus
from posegen.tables import WorkerRow
from posegen.workforce import drawing_of, live_workers

APP = "pose-generator"


class Health(StrEnum):
    """The sum of it."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


def health_of(service: Service) -> dict[str, Any]:
    """Return the answer of `GET /health`."""
    database, workers, without_worker = _database(service)
    redis, queue = _redis(service)
    if without_worker:
        queue = _told_of_waiting(queue, without_worker)
    ready = [worker for worker in workers if worker["status"] == WorkerStatus.READY and _draws_now(worker)]
    if database["status"] != Health.HEALTHY:
        status = Health.UNHEALTHY
    elif redis["status"] != Health.HEALTHY or not ready or without_worker:
        status = Health.DEGRADED
    else:
        status = Health.HEALTHY
    return {
        "status": status,
        "timestamp": iso(datetime.now(UTC)),
        "app": APP,
        "version": version("posegen"),
        "checks": {"database": database, "redis": redis, "queue": queue, "controlNet": _drawing(workers, ready)},
        "workers": workers,
    }


def _database(service: Service) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, int]]:
    """Return the check of the database, the live workers, and the pictures by profile that none of them draws."""
    try:
        with service.database.reading() as session:
            rows = live_workers(session, now=database_now(session))
            workers = [_told(row) for row in rows]
            without_worker = undrawable(session, rows)
    except DatabaseAway as error:
        return {"status": Health.UNHEALTHY, "message": str(error)}, [], {}
    return {"status": Health.HEALTHY, "dialect": service.database.dialect}, workers, without_worker


def _redis(service: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checks of Redis and of the queue in it."""
    try:
        service.bell.ping()
        counts = service.bell.counts()
    except BellAway as error:
        away = {"status": Health.UNHEALTHY, "message": str(error)}
        return away, {"status": Health.UNHEALTHY, "counts": None}
    told = {
        "waiting": counts.waiting,
        "active": counts.active,
        "completed": counts.completed,
        "failed": counts.failed,
        "delayed": counts.delayed,
    }
    return {"status": Health.HEALTHY}, {"status": Health.HEALTHY, "counts": told}


def _told_of_waiting(queue: dict[str, Any], without_worker: dict[str, int]) -> dict[str, Any]:
    """Add to the queue's check the pictures, by profile, that no live worker draws."""
    status = Health.DEGRADED if queue["status"] == Health.HEALTHY else queue["status"]
    message = f"Pictures wait for a worker that draws {', '.join(sorted(without_worker))}; start one."
    return {**queue, "status": status, "withoutWorker": without_worker, "message": message}


def _drawing(workers: list[dict[str, Any]], ready: list[dict[str, Any]]) -> dict[str, Any]:
    if ready:
        return {"status": Health.HEALTHY, "profiles": sorted({worker["profile"] for worker in ready})}
    shut = [worker["hosted"] for worker in workers if not _draws_now(worker)]
    if shut:
        message = f"The hosted endpoint is {shut[0]['state']} ({shut[0]['reason']}). {shut[0]['remedy'] or ''}".strip()
    else:
        message = "A worker is starting." if workers else "No worker is running; start one with python -m gpu_worker."
    return {"status": Health.DEGRADED, "profiles": [], "message": message}


def _draws_now(worker: dict[str, Any]) -> bool:
    """Tell whether a worker's endpoint, if it draws at one, is known to be of no use at the moment."""
    return worker["hosted"] is None or worker["hosted"].get("state") in ("untried", "ready", "busy", "waking")


def _told(row: WorkerRow) -> dict[str, Any]:
    drawing = drawing_of(row)
    return {
        "name": row.name,
        "host": row.host,
        "device": row.device,
        "deviceName": row.device_name,
        "profile": row.profile,
        "model": PROFILES[row.profile].title if row.profile in PROFILES else None,
        "backend": drawing.backend,
        "precision": drawing.precision,
        "cache": drawing.cache,
        "attention": drawing.attention,
        "compiled": drawing.compiled,
        "detector": detector_of(row),
        "followsPoses": follows_poses(row),
        "hosted": hosted_of(row),
        "status": row.status,
        "maxBatch": row.max_batch,
        "rowsActive": row.rows_active,
        "stepsPerSecond": row.steps_per_s,
        "picturesPerSecond": row.pictures_per_s,
        "busyShare": row.busy_share,
        "memoryBytes": row.memory_bytes,
        "memoryTotalBytes": drawing.memory_total_bytes,
        "startedAt": iso(row.started_at),
        "heartbeatAt": iso(row.heartbeat_at),
    }
