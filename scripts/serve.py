"""The whole service from one command: private Redis, database, API, a worker per card, and a first order to look at.

Run by ./scripts/start, in the folder that holds `.env` and `var/`. Every step prints one line; one that fails says
what to do. Everything started here ends with this process, however it ends.
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from preparing import SettingsRefused, read_settings, shorten_logs, write_secret
from service import Service, StepFailed, Stopped, StopSignal, say, short, told
from sqlalchemy.exc import SQLAlchemyError

from posegen.child_processes import last_lines
from posegen.errors import PosegenError
from posegen.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, order, serve, stop; return the exit code."""
    wishes = _parse(arguments)
    stop = StopSignal()
    service: Service | None = None
    try:
        settings = _settings()
        with _alone(settings.var_dir.absolute()):
            service = Service(settings, stop)
            try:
                return _run(service, wishes)
            finally:
                service.shut_down()
    except StepFailed as failure:
        _show(failure)
        return 1
    except Stopped:
        say("\n  Stopped.")
        return 130


def _run(service: Service, wishes: argparse.Namespace) -> int:
    began = time.monotonic()
    shorten_logs(service.logs)
    with _explained("Redis", "Set REDIS_URL to a Redis that runs, or install one: sudo apt-get install redis-server"):
        service.start_redis()
    with _explained("Database", "Check DATABASE_URL and that the folder var/ can be written."):
        service.migrate()
    with _explained("Workers", "Check that this machine has free memory and processes."):
        service.start_workers()
    with _explained("API", "Check that HOST is an address of this machine."):
        service.start_api(wishes.port or service.settings.port)
    with _explained("Library", "Check that the folder var/ can be written."):
        login = service.prepare()  # while the others load
    service.wait_until_healthy()
    told("Ready", f"after {time.monotonic() - began:.1f} s")
    code = 0
    if not wishes.no_order:
        code = service.first_order(login)
    say(f"\n  Posegen: {service.url}   login: {login.email}   password: {login.password}")
    if wishes.once:
        return code
    if code:
        say("  The first order did not succeed (above); the service runs on, so that you can look.")
    say(f"  Logs: {short(service.logs)}/   Ctrl-C stops everything.")
    service.serve()
    say("\nStopping: pictures in the making finish their step or go back to the queue ...")
    return 0


def _settings() -> Settings:
    env_file = Path(".env")
    with _explained("Settings", "Check that this folder can be written."):
        generated = write_secret(env_file)
    try:
        settings = read_settings()
    except SettingsRefused as refused:
        raise StepFailed(
            f"Settings: {refused}", f"Correct it in the environment or in {env_file.absolute()}."
        ) from None
    told("Settings", ".env with a new JWT_SECRET" if generated else "JWT_SECRET is set")
    return settings


@contextmanager
def _alone(var: Path) -> Iterator[None]:
    """Hold var/start.lock; the kernel lets go of it when this process ends, however it ends."""
    var.mkdir(parents=True, exist_ok=True)
    with (var / "start.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise StepFailed(
                f"Posegen already runs with {var} (process {holder}).",
                "Use that one, stop it with Ctrl-C, or set VAR_DIR to another folder for a second service.",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _explained(step: str, to_do: str) -> Iterator[None]:
    """Turn what a step may raise into its name, its reason and what to do."""
    try:
        yield
    except (PosegenError, OSError, SQLAlchemyError) as error:
        raise StepFailed(f"{step}: {_reason(error)}", to_do) from error


def _reason(error: BaseException) -> str:
    """Return the sentence of an error and the first line of what caused it: drivers say the rest at length."""
    sentence = error.args[0] if isinstance(error, SQLAlchemyError) and error.args else str(error)
    cause = str(error.__cause__).splitlines() if error.__cause__ else []
    return f"{sentence} ({cause[0]})" if cause and cause[0] not in str(sentence) else str(sentence)


def _show(failure: StepFailed) -> None:
    say(f"\n  FAILED  {failure.what}\n  What to do: {failure.to_do}")
    if failure.log_file:
        say(f"  The end of {short(failure.log_file)}:\n")
        say("\n".join("    " + line for line in last_lines(failure.log_file, 15).splitlines()))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/start", description="Start Posegen and place a first order.")
    parser.add_argument("--once", action="store_true", help="stop after the first order; exit code 0 if it succeeded")
    parser.add_argument("--port", type=int, help="port of the API (default: PORT, else 4000; then the next free one)")
    parser.add_argument("--no-order", action="store_true", help="only serve")
    wishes = parser.parse_args(arguments)
    if wishes.port is not None and not 1 <= wishes.port <= 65535:
        parser.error("--port is a number from 1 to 65535")
    return wishes


if __name__ == "__main__":
    sys.exit(main())
