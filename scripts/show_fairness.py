"""Shows who is served when: one customer with 300 pictures, and five with 4 each who come a little later.

    python scripts/show_fairness.py [--database-url postgresql://...]

It places real orders in a fresh database and claims as a worker of four rows does, without drawing: each round of
four takes one second of a clock of its own. One letter is one picture, in the order they were taken.
"""

import argparse
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from posegen import ledger, quota
from posegen.database import Database
from posegen.leases import Claimant, claim_items
from posegen.migrating import migrate
from posegen.orders import Order, place_order
from posegen.projects import create_project
from posegen.queueing import Room
from posegen.tables import LibraryPose, PoseCategory, User

LONG, SHORT = "S", ("a", "b", "c", "d", "e")
LONG_POSES, LONG_VARIATIONS, SHORT_PICTURES = 50, 6, 4
ROWS = 4
HEAD_START = 5
"""Rounds that the long order has to itself."""
START = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One picture taken by the worker."""

    user_id: str
    second: int


def main() -> None:
    """Show three cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database-url", help="an empty database for one case; left out: SQLite, three cases")
    asked = parser.parse_args()
    cases: list[tuple[str, Collection[str]]] = [
        ("Everybody pays by the picture", ()),
        (f"{LONG} is in the unlimited tier", (LONG,)),
        ("The five are in the unlimited tier", SHORT),
    ]
    for title, unlimited in cases[:1] if asked.database_url else cases:
        with _database(asked.database_url) as database:
            migrate(database)
            show(title, serve(database, unlimited=unlimited))


def serve(database: Database, *, unlimited: Collection[str]) -> list[Served]:
    """Return all pictures in the order they are taken. The database is migrated and has no users."""
    pose_ids = _poses(database)
    for user_id in (LONG, *SHORT):
        _customer(database, user_id, unlimited=user_id in unlimited)
    _order(database, LONG, pose_ids, LONG_VARIATIONS, START)
    served: list[Served] = []
    second = 0
    while True:
        now = START + timedelta(seconds=second)
        if second == HEAD_START:
            for user_id in SHORT:
                _order(database, user_id, pose_ids[:1], SHORT_PICTURES, now)
        with database.writing() as session:
            claimant = Claimant(worker="w1", profile="tiny", lease_s=60)
            claims = claim_items(session, claimant, Room(free_rows=ROWS), now=now)
        if not claims:
            return served
        served += [Served(user_id=claim.user_id, second=second) for claim in claims]
        second += 1


def show(title: str, served: list[Served]) -> None:
    """Print who was taken when."""
    line = "".join(one.user_id for one in served)
    rounds = [line[at : at + ROWS] for at in range(0, len(line), ROWS)]
    last = max(one.second for one in served if one.user_id in SHORT)
    print(f"{title}. From the {HEAD_START + 1}th second on all six wait:")
    print("  " + " ".join(rounds[: last + 2]) + (" ..." if last + 2 < len(rounds) else ""))
    for user_id in (LONG, *SHORT):
        seconds = [one.second for one in served if one.user_id == user_id]
        came = 0 if user_id == LONG else HEAD_START
        print(
            f"  {user_id}: {len(seconds):3} pictures, came at {came:2} s, "
            f"first taken at {seconds[0]:2} s, last at {seconds[-1]:2} s"
        )
    print()


@contextmanager
def _database(url: str | None) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(url or f"sqlite:///{Path(folder) / 'fairness.db'}")
        try:
            yield database
        finally:
            database.close()


def _poses(database: Database) -> list[str]:
    with database.writing() as session:
        shelf = PoseCategory(slug="shelf", name="shelf", display_name="Shelf", created_at=START, updated_at=START)
        session.add(shelf)
        session.flush()
        rows = [
            LibraryPose(
                slug=f"pose-{number}",
                name=f"Pose {number}",
                description="standing",
                category_id=shelf.id,
                people={"people": []},
                difficulty="beginner",
                gender_suitability="unisex",
                tags=[],
                created_at=START,
                updated_at=START,
            )
            for number in range(LONG_POSES)
        ]
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def _customer(database: Database, user_id: str, *, unlimited: bool) -> None:
    with database.writing() as session:
        user = User(id=user_id, email=f"{user_id}@example.com", created_at=START, updated_at=START)
        session.add(user)
        session.flush()
        ledger.grant(session, user_id, 100_000, description="to show fairness", now=START)
        if unlimited:
            quota.subscribe(session, user, last_day=date(2026, 12, 31), daily_quota=1000, now=START)


def _order(database: Database, user_id: str, pose_ids: list[str], variations: int, now: datetime) -> None:
    with database.writing() as session:
        project = create_project(
            session, user_id, name=f"{user_id}'s", description=None, avatar_image_url=None, now=now
        )
        order = Order(project_id=project.id, pose_ids=tuple(pose_ids), variations=variations)
        place_order(session, user_id, order, profile_name="tiny", now=now)


if __name__ == "__main__":
    main()
