"""Is this machine's API, or its worker, alive: the health check of a container, so it imports as little as it can.

`python -m posegen.alive api` asks the API on PORT; `python -m posegen.alive worker` looks for a worker of this host
that reported within the last seconds, loading ones included. Ends with 0, or with 1 and a sentence.
"""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

HEALTH_PATH = "/api/apps/pose-generator/health"
_ANSWER_S = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask whoever listens on every address


def health_at(host: str, port: int) -> dict[str, Any] | None:
    """Return what the API that listens on `host` says of itself; None when nobody answers, or something else does."""
    host = _EVERYWHERE.get(host, host)
    url = f"http://[{host}]:{port}{HEALTH_PATH}" if ":" in host else f"http://{host}:{port}{HEALTH_PATH}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        with opener.open(url, timeout=_ANSWER_S) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            try:
                told = json.load(refused)
            except ValueError:
                return None
    except (OSError, ValueError, HTTPException):
        return None
    return told if isinstance(told, dict) and told.get("app") == "pose-generator" else None


def main(arguments: Sequence[str]) -> str | None:
    """Look; return what is wrong, or None."""
    match list(arguments):
        case ["api"]:
            return _api()
        case ["worker"]:
            return _worker()
        case _:
            return "python -m posegen.alive api|worker"


def _api() -> str | None:
    from posegen.settings import Settings

    settings = Settings()
    health = health_at(settings.host, settings.port)
    if health is None:
        return f"No Posegen answers on port {settings.port}."
    # Degraded is alive: orders are taken and wait, and a restart of the API would mend nothing.
    return f"The API is unhealthy: {health.get('checks')}" if health.get("status") == "unhealthy" else None


def _worker() -> str | None:
    from posegen.database import Database, database_now
    from posegen.errors import DatabaseAway
    from posegen.settings import Settings
    from posegen.workforce import live_workers

    host = socket.gethostname()
    database = Database(Settings().sql_url, pool_size=1)
    try:
        with database.reading() as session:
            alive = [worker for worker in live_workers(session, now=database_now(session)) if worker.host == host]
    except DatabaseAway:
        return None  # the worker keeps drawing without it, and a restart would lose that
    finally:
        database.close()
    return None if alive else f"No worker of {host} has reported lately."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
