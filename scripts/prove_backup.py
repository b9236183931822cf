"""Keep a real service, lose it, bring it back: order, `posegen backup`, wipe, `posegen restore`, `posegen reconcile`.

Everything is a real process on this machine: ./scripts/start's own service with the built-in model places an order, on
SQLite and on a PostgreSQL of our own; then database and pictures are deleted. Exit code 0 when all came back.

    .venv/bin/python scripts/prove_backup.py [--db sqlite|postgres] [--folder FOLDER]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from postgres_server import PostgresServer

from posegen.ports import free_port

ROOT = Path(__file__).parents[1]
DATABASE = "posegen"


class Lost(Exception):
    """Something did not come back; the text says what."""


def main() -> int:
    """Prove it for the databases asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Prove that a backup brings a service back.")
    parser.add_argument("--db", choices=["sqlite", "postgres"], help="only this one (default: both)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a fresh one, deleted at the end)")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="posegen-backup-"))
    try:
        for database in [asked.db] if asked.db else ["sqlite", "postgres"]:
            prove(database, folder / database)
    except Lost as lost:
        print(f"LOST: {lost}")
        return 1
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def prove(kind: str, folder: Path) -> None:
    """Order, keep, wipe, restore and compare on one kind of database. Raises Lost."""
    print(f"\n== {kind}")
    folder.mkdir(parents=True)
    server = PostgresServer(durable=True) if kind == "postgres" else None
    try:
        if server is not None:
            server.start()
        _prove(folder, server)
    finally:
        if server is not None:
            server.remove()


def _prove(folder: Path, server: PostgresServer | None) -> None:
    var = folder / "var"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "DATABASE_"))},
        "PYTHONPATH": str(ROOT),
        "VAR_DIR": str(var),
        "PORT": str(free_port()),
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "120",
    }
    if server is not None:
        server.create_database(DATABASE)
        environment["DATABASE_URL"] = server.url(DATABASE)
    run([str(ROOT / "scripts" / "serve.py"), "--once"], folder, environment)
    before = digests(var / "storage")
    print(f"{len(before)} files in the picture store")

    posegen(["backup", "kept"], folder, environment)
    wipe(var, server)
    posegen(["doctor", "--device", "cpu"], folder, environment, may_fail=True)

    posegen(["restore", "kept"], folder, environment)
    posegen(["reconcile"], folder, environment)
    posegen(["sweep", "--dry-run"], folder, environment)
    after = digests(var / "storage")
    if after != before:
        raise Lost(f"{len(set(before.items()) - set(after.items()))} files differ or are missing")
    print(f"all {len(after)} files are there, byte by byte")
    run([str(ROOT / "scripts" / "serve.py"), "--once"], folder, environment)
    print("and the restored service draws the next order")


def wipe(var: Path, server: PostgresServer | None) -> None:
    """Delete the pictures and the database."""
    shutil.rmtree(var / "storage")
    for file in var.glob("posegen.db*"):
        file.unlink()
    if server is not None:
        server.drop_database(DATABASE)
        server.create_database(DATABASE)
    print("wiped: the database and the pictures are gone")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def posegen(argv: list[str], folder: Path, environment: Mapping[str, str], *, may_fail: bool = False) -> None:
    """Run one command of ours and show what it says. Raises Lost when it fails."""
    print(f"$ posegen {' '.join(argv)}", flush=True)
    run(["-m", "posegen", *argv], folder, environment, may_fail=may_fail)


def run(argv: list[str], folder: Path, environment: Mapping[str, str], *, may_fail: bool = False) -> None:
    """Run Python and show what it says. Raises Lost when it fails."""
    done = subprocess.run([sys.executable, *argv], cwd=folder, env=dict(environment), check=False)
    if done.returncode and not may_fail:
        raise Lost(f"{' '.join(argv)} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
