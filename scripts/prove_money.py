"""Proves that money holds under everything that may happen to it, on SQLite and on PostgreSQL; the long runs.

    python scripts/prove_money.py [--db both|sqlite|postgres] [--json] [--only spends,refunds,submits,machine]

- spends: 64 clients in 8 processes spend 1,000 times each from one balance; never negative, and what it pays is sold.
- refunds: 8 processes fail and refund the same pictures 10 times each; one entry a picture.
- submits: 100 clients send one order with one Idempotency-Key to a real API, and to the one started after it; 1 debit,
  the same bytes for all, and 422 for another body.
- machine: orders, claims, deliveries, failures, lapses, cancels, retries, ghosts, grants and quotas in any order, 2,000
  examples of 50 steps; the books agree after every step.

Everything is counted from the database and the answers. Exits with 1 when a promise is broken.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx2
import jwt
from money_machine import run_machine
from money_proofs import furnish, prove_refunds, prove_spends, prove_submits
from postgres_server import PostgresServer
from sqlalchemy import make_url

from posegen.database import Database
from posegen.migrating import migrate
from posegen.ports import free_port

SECRET = "a secret of the proofs that is long enough"
HEALTH = "/api/apps/pose-generator/health"
START_S = 60.0
FULL = 0.9
"""The share of the asked steps that the machine must have taken."""
PROOFS = ("spends", "refunds", "submits", "machine")
MakeUrl = Callable[[], str]


def main() -> int:
    """Run the proofs, tell, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--db", choices=("both", "sqlite", "postgres"), default="both")
    parser.add_argument("--only", default=",".join(PROOFS), help="a comma list of the proofs to run")
    parser.add_argument("--json", action="store_true", help="one JSON object a proof, a line each")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--spends", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--submits", type=int, default=100)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that share the machine's examples")
    asked = parser.parse_args()
    good = True
    for db in ("sqlite", "postgres") if asked.db == "both" else (asked.db,):
        for proof in asked.only.split(","):
            begun = time.monotonic()
            figures = _proven(db, proof, asked)
            figures = {"proof": proof, "db": db, **figures, "took_s": round(time.monotonic() - begun, 1)}
            good = good and bool(figures["good"])
            print(json.dumps(figures) if asked.json else _told(figures), flush=True)
    return 0 if good else 1


def _proven(db: str, proof: str, asked: argparse.Namespace) -> dict[str, Any]:
    if proof == "machine":
        return _machine(db, asked)
    with _databases(db) as make_url_of:
        url = make_url_of()
        if proof == "spends":
            balance = 30 * 500 + 29
            spent = prove_spends(url, clients=asked.clients, spends=asked.spends, balance=balance, cost=30)
            return {**asdict(spent), "good": spent.good}
        if proof == "refunds":
            refunded = prove_refunds(url, pictures=asked.pictures)
            return {**asdict(refunded), "good": refunded.good}
        with _opened(url) as database:
            project_id, pose_id = furnish(database, credits=100_000)
        body = {
            "projectId": project_id,
            "generationType": "GALLERY_REFERENCE",
            "selectedPoseIds": [pose_id],
            "batchSize": 4,
        }
        submitted = prove_submits(url, partial(_served, url), clients=asked.submits, body=body)
        return {**asdict(submitted), "good": submitted.good}


def _machine(db: str, asked: argparse.Namespace) -> dict[str, Any]:
    share = -(-asked.examples // asked.processes)
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(machine_in_process, db, share, asked.steps) for _ in range(asked.processes)]
        taken = sum((run.result() for run in runs), Counter[str]())  # an example that broke is raised here
    examples, steps = taken.pop("examples"), taken.pop("steps")
    # Hypothesis ends some examples a few steps early.
    enough = examples >= asked.examples and steps >= FULL * asked.examples * asked.steps
    return {"examples": examples, "steps": steps, "taken": dict(taken), "good": enough}


def machine_in_process(db: str, examples: int, steps: int) -> Counter[str]:
    """Run examples of the machine, each on a database of its own."""
    with _databases(db) as make_url_of:

        @contextmanager
        def fresh() -> Iterator[Database]:
            with _opened(make_url_of()) as database:
                yield database

        return run_machine(fresh, examples=examples, steps=steps, repeatable=False)


@contextmanager
def _databases(db: str) -> Iterator[MakeUrl]:
    """Yield a function that makes a migrated, empty database and drops the one it made before."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if db == "sqlite":
            with _opened(f"sqlite:///{folder / 'migrated.db'}") as database:
                migrate(database)
            yield partial(_copied_file, folder)
            return
        server = PostgresServer()
        stack.callback(server.remove)
        server.start()
        migrated = server.create_database()
        with _opened(server.url(migrated)) as database:
            migrate(database)
        made: list[str] = []

        def copied() -> str:
            while made:
                server.drop_database(made.pop())
            made.append(server.create_database(template=migrated))
            return server.url(made[0])

        yield copied


def _copied_file(folder: Path) -> str:
    for left in folder.glob("used.db*"):
        left.unlink()
    shutil.copyfile(folder / "migrated.db", folder / "used.db")
    return f"sqlite:///{folder / 'used.db'}"


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _served(url: str) -> Iterator[tuple[str, str]]:
    """Start a real API on the database; yield its address and the customer's token. Redis is away all the time."""
    port = free_port()
    settings = {
        "JWT_SECRET": SECRET,
        "DATABASE_URL": make_url(url).render_as_string(hide_password=False),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PROFILE": "tiny",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GENERATE_RATE": "100000/minute",
        "GENERATE_PICTURES_RATE": "1000000/minute",
    }
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "api.log", "wb") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", "api"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **settings, "VAR_DIR": folder},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, api)
            claims = {"userId": "ann", "email": "ann@example.com", "exp": int(time.time()) + 3600}
            yield address, jwt.encode(claims, SECRET, algorithm="HS256")
        finally:
            api.send_signal(signal.SIGTERM)
            api.wait(30)


def _wait_for(address: str, api: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and api.poll() is None:
        try:
            httpx2.get(address + HEALTH, timeout=5)
        except httpx2.HTTPError:
            time.sleep(0.1)
            continue
        return
    raise RuntimeError("the API did not start")


def _told(figures: dict[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in figures.items() if name not in ("proof", "db", "good"))
    return f"{'ok    ' if figures['good'] else 'BROKEN'} {figures['proof']} on {figures['db']}: {facts}"


if __name__ == "__main__":
    sys.exit(main())
