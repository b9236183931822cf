"""Measures how long `posegen reconcile` takes over a million ledger entries, on SQLite and on PostgreSQL.

    python scripts/bench_reconcile.py [--entries 1000000] [--db both|sqlite|postgres] [--json]

It fills a fresh database in SQL: every customer was granted credits, every generation has two pictures, one delivered
with its two files and one failed and refunded. Then it reads the books as the command does, once as the database was
left and once more, and once with a credit too many in one balance, which must be named. It exits with 1 when the books
of the filled database do not agree, when the credit is not named, or when a reading takes a minute.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from postgres_server import PostgresServer
from sqlalchemy import BigInteger, Connection, Integer, String, Subquery, cast, func, insert, literal, select, update

from posegen.books import read_books
from posegen.database import Database
from posegen.migrating import migrate
from posegen.tables import GeneratedPicture, Generation, LedgerEntry, Project, StoredObject, User, WorkItem

LIMIT_S = 60.0
ENTRIES_A_CUSTOMER = 50
GRANT, PRICE = 1_000_000, 30
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One database: what was in it, and the seconds of each reading."""

    db: str
    rows: dict[str, int]
    fill_s: float
    first_s: float
    second_s: float
    agree: bool
    planted_named: bool

    @property
    def good(self) -> bool:
        """Tell whether everything that was promised is so."""
        return self.agree and self.planted_named and max(self.first_s, self.second_s) < LIMIT_S


def main() -> int:
    """Measure, tell, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--db", choices=("both", "sqlite", "postgres"), default="both")
    parser.add_argument("--json", action="store_true", help="one JSON object a database, a line each")
    asked = parser.parse_args()
    good = True
    for name in ("sqlite", "postgres") if asked.db == "both" else (asked.db,):
        with _database(name) as database:
            measured = measure(database, asked.entries)
        good = good and measured.good
        if asked.json:
            print(json.dumps({**asdict(measured), "good": measured.good}))
        else:
            told = ", ".join(f"{count:,} {kind}" for kind, count in measured.rows.items())
            print(f"{measured.db}: {told} (filled in {measured.fill_s:.0f} s)")
            print(f"  read in {measured.first_s:.1f} s, and again in {measured.second_s:.1f} s")
            print(f"  agree: {measured.agree}; a planted credit is named: {measured.planted_named}")
    return 0 if good else 1


def measure(database: Database, entries: int) -> Measured:
    """Fill a migrated, empty database with so many entries, and read its books."""
    begun = monotonic()
    with database.without_limits() as connection:
        fill(connection, entries)
    with database.without_limits() as connection:
        connection.exec_driver_sql("ANALYZE")  # as PostgreSQL's autovacuum does by itself
    fill_s = monotonic() - begun
    begun = monotonic()
    books = read_books(database)
    first_s = monotonic() - begun
    begun = monotonic()
    again = read_books(database)
    second_s = monotonic() - begun
    with database.writing() as session:
        session.execute(update(User).where(User.id == "user-0").values(credit_balance=User.credit_balance + 1))
    named = read_books(database).disagreements
    return Measured(
        db=database.dialect,
        rows=books.rows,
        fill_s=round(fill_s, 1),
        first_s=round(first_s, 2),
        second_s=round(second_s, 2),
        agree=books.agree and again.agree,
        planted_named=[(one.kind, one.id) for one in named] == [("user", "user-0")],
    )


def fill(connection: Connection, entries: int) -> None:
    """Write honest rows with so many ledger entries."""
    customers = max(1, entries // ENTRIES_A_CUSTOMER)
    generations = (entries - customers) // 2
    user = _numbers(customers)
    order = _numbers(generations)
    of = literal("user-").concat(cast(order.c.n % customers, String))
    _copy(connection, User, user, _user(user, customers, generations))
    grant = {"type": "bonus", "amount_credits": GRANT, "reference": _id("grant", user), "part": "grant"}
    _copy(connection, LedgerEntry, user, {**_entry(_id("bonus", user), _user_id(user)), **grant})
    _copy(connection, Project, user, _project(user))
    _copy(connection, Generation, order, _generation(order, of, customers))
    usage = {"type": "usage", "amount_credits": -2 * PRICE, "reference": _id("order", order), "part": "order"}
    _copy(connection, LedgerEntry, order, {**_entry(_id("usage", order), of), **usage})
    refund = {"type": "refund", "amount_credits": PRICE, "reference": _id("order", order), "part": "pose-v1"}
    _copy(connection, LedgerEntry, order, {**_entry(_id("refund", order), of), **refund})
    for kind in ("output", "thumb"):
        stored = {"key": _id(kind, order), "content_type": "image/png", "size_bytes": 1000, "created_at": AT}
        _copy(connection, StoredObject, order, stored)
    for number, status in enumerate(("completed", "failed")):
        _copy(connection, WorkItem, order, _item(order, of, number, status))
        _copy(connection, GeneratedPicture, order, _picture(order, of, number, status))


def _copy(connection: Connection, table: Any, numbers: Subquery, values: dict[str, Any]) -> None:
    """Insert a row per number."""
    types = table.__table__.c
    columns = [
        value if hasattr(value, "compile") else literal(value, types[name].type) for name, value in values.items()
    ]
    connection.execute(insert(table).from_select(list(values), select(*columns).select_from(numbers)))


def _numbers(count: int) -> Subquery:
    """Return the numbers from 0 to count - 1 as a table."""
    numbers = select(literal(0, Integer).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count - 1))
    return select(numbers.c.n).subquery("counted")


def _id(kind: str, numbers: Subquery) -> Any:
    return _id_of(kind, numbers.c.n)


def _id_of(kind: str, number: Any) -> Any:
    """Return an id as long as a real one."""
    digits = func.substr(cast(literal(1_000_000_000_000, BigInteger) + number, String), 2)
    return literal(f"{kind:-<24}").concat(digits)


def _user_id(user: Subquery) -> Any:
    return literal("user-").concat(cast(user.c.n, String))


def _user(user: Subquery, customers: int, generations: int) -> dict[str, Any]:
    # Customer n ordered for every number that leaves n as its remainder.
    orders = (literal(generations + customers - 1) - user.c.n) // customers
    name = _user_id(user)
    return {
        "id": name,
        "email": name.concat("@example.com"),
        "credit_balance": GRANT - PRICE * orders,
        "created_at": AT,
        "updated_at": AT,
    }


def _entry(entry_id: Any, user_id: Any) -> dict[str, Any]:
    return {"id": entry_id, "user_id": user_id, "description": "2 pictures for a project", "created_at": AT}


def _project(user: Subquery) -> dict[str, Any]:
    return {
        "id": _id("project", user),
        "user_id": _user_id(user),
        "project_name": "A project",
        "avatar_source": "UPLOAD",
        "created_at": AT,
        "updated_at": AT,
    }


def _generation(order: Subquery, of: Any, customers: int) -> dict[str, Any]:
    return {
        "id": _id("order", order),
        "project_id": _id_of("project", order.c.n % customers),
        "user_id": of,
        "generation_type": "GALLERY_REFERENCE",
        "batch_size": 2,
        "total_expected_poses": 2,
        "profile": "tiny",
        "status": "completed",
        "poses_completed": 1,
        "poses_failed": 1,
        "credit_charged": 2 * PRICE,
        "credit_refunded": PRICE,
        "created_at": AT,
        "started_at": AT,
        "completed_at": AT,
    }


def _item(order: Subquery, of: Any, number: int, status: str) -> dict[str, Any]:
    return {
        "id": _id(f"item-{number}", order),
        "kind": "pose",
        "generation_id": _id("order", order),
        "user_id": of,
        "status": status,
        "variation_key": f"pose-v{number}",
        "part": f"pose-v{number}",
        "prompt": "person, standing, professional photography, sharp focus, detailed, soft lighting",
        "seed": order.c.n,
        "profile": "tiny",
        "width_px": 128,
        "height_px": 128,
        "steps": 12,
        "guidance": 3.5,
        "control_scale": 0.9,
        "control_end": 0.65,
        "price_credits": PRICE,
        "attempt": 1,
        "worker": "w1",
        "queued_at": AT,
        "claimed_at": AT,
        "finished_at": AT,
        "created_at": AT,
    }


def _picture(order: Subquery, of: Any, number: int, status: str) -> dict[str, Any]:
    delivered = status == "completed"
    keys = {"output_key": _id("output", order), "thumbnail_key": _id("thumb", order)}
    return {
        "id": _id(f"picture-{number}", order),
        "generation_id": _id("order", order),
        "work_item_id": _id(f"item-{number}", order),
        "user_id": of,
        "variation_key": f"pose-v{number}",
        "status": status,
        **(keys if delivered else {"error_message": "It could not be drawn."}),
        "width_px": 128,
        "height_px": 128,
        "created_at": AT,
    }


@contextmanager
def _database(name: str) -> Iterator[Database]:
    """Yield a migrated, empty database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer() if name == "postgres" else None
        try:
            if server is not None:
                server.start()
            database = Database(server.url() if server is not None else f"sqlite:///{Path(folder) / 'bench.db'}")
            try:
                migrate(database)
                yield database
            finally:
                database.close()
        finally:
            if server is not None:
                server.remove()


if __name__ == "__main__":
    sys.exit(main())
