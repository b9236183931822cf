"""`python -m api`: serve the API until it is asked to stop."""

import argparse
import signal
import sys

import structlog
import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from api.app import create_app
from api.sockets import MOST_PACKET_BYTES
from models.errors import UnknownProfile
from posegen import crash_points
from posegen.exit_codes import ExitCode
from posegen.logs import set_up_logging
from posegen.settings import Settings

LAST_REQUESTS_S = 3
"""So long a request may still take after the process was asked to stop."""
log = structlog.get_logger()


def main() -> int:
    """Serve; return the exit code (posegen.exit_codes)."""
    wishes = _parse()
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        for problem in error.errors():
            print(f"{'.'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}", file=sys.stderr)
        print("Set it in the environment or in .env (./scripts/start writes one).", file=sys.stderr)
        return ExitCode.CANNOT_START
    except UnknownProfile as error:
        print(f"PROFILE: {error}", file=sys.stderr)
        return ExitCode.CANNOT_START
    set_up_logging(settings.log_format, process="api")
    crash_points.arm(crash_points.wish_of(settings.crash_at))
    host, port = wishes.host or settings.host, wishes.port or settings.port
    log.info("api.starting", host=host, port=port)
    server = uvicorn.Server(server_config(app, host, port))
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn repeats the signal to whoever had it before; being asked to stop is no failure of ours
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run()
    log.info("api.stopped")
    return ExitCode.DONE


def server_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """Return how this API is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MOST_PACKET_BYTES,
        timeout_graceful_shutdown=LAST_REQUESTS_S,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the Posegen API.")
    parser.add_argument("--host", help="address to listen on (default: HOST, else every address)")
    parser.add_argument("--port", type=int, help="port to listen on (default: PORT, else 4000)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
