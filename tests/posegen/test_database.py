"""The connection to SQL: what a transaction promises, and what counts as away."""

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, StatementError
from support.house import NOW, House, all_at_once
from support.servers import PostgresServer

from posegen import database as database_module
from posegen.database import Database, database_now
from posegen.errors import BadInput, DatabaseAway
from posegen.projects import create_project
from posegen.tables import User


def add_ten(database: Database) -> None:
    """Read, think, write: safe only if nobody else wrote in between or the row is locked."""
    with database.writing() as session:
        user = session.get_one(User, "ann", with_for_update=True)
        user.credit_balance += 10


def test_a_block_that_raises_leaves_nothing(house: House) -> None:
    house.customer(credits=0)

    def write_and_break() -> None:
        with house.database.writing() as session:
            session.execute(update(User).values(credit_balance=5))
            raise KeyError("nothing")

    with pytest.raises(KeyError):
        write_and_break()

    assert house.balance("ann") == 0


def test_reading_keeps_nothing(house: House) -> None:
    house.customer(credits=0)

    with house.database.reading() as session:
        session.execute(update(User).values(credit_balance=5))

    assert house.balance("ann") == 0


def test_writers_at_once_lose_no_update(house: House) -> None:
    house.customer(credits=0)

    outcomes = all_at_once([lambda: [add_ten(house.database) for _ in range(10)]] * 6)

    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert house.balance("ann") == 600


def test_a_reader_does_not_wait_for_a_writer(house: House) -> None:
    house.customer(credits=0)

    with house.database.writing() as session:
        session.execute(update(User).values(credit_balance=5))
        assert house.balance("ann") == 0


def test_the_databases_clock_is_utc_and_about_now(database: Database) -> None:
    with database.reading() as session:
        now = database_now(session)

    assert now.tzinfo == UTC
    assert abs((now - datetime.now(UTC)).total_seconds()) < 30


def test_a_time_without_a_zone_is_refused(house: House) -> None:
    with pytest.raises(StatementError, match="without a zone"), house.database.writing() as session:
        session.execute(update(User).values(created_at=datetime(2026, 1, 1)))  # noqa: DTZ001 - what is refused


def test_times_of_other_zones_are_compared_as_what_they_are(house: House) -> None:
    house.customer()
    elsewhere = datetime.fromisoformat("2026-11-24T19:00:00+07:00")

    with house.database.reading() as session:
        assert elsewhere == NOW
        assert session.scalars(select(User.id).where(User.created_at == elsewhere)).all() == ["ann"]


def test_text_that_cannot_be_stored_is_bad_input(postgres_house: House) -> None:
    postgres_house.customer()

    with pytest.raises(BadInput), postgres_house.database.writing() as session:
        create_project(session, "ann", name="a\x00b", description=None, avatar_image_url=None, now=NOW)


def test_a_broken_promise_is_not_taken_for_an_outage(house: House) -> None:
    with pytest.raises(IntegrityError), house.database.writing() as session:
        create_project(session, "nobody", name="abc", description=None, avatar_image_url=None, now=NOW)


def test_a_postgresql_that_is_gone_is_away_and_comes_back(
    postgres_house: House, postgres_server: PostgresServer
) -> None:
    postgres_house.customer()
    postgres_server.stop()

    with pytest.raises(DatabaseAway):
        postgres_house.balance("ann")
    with pytest.raises(DatabaseAway), postgres_house.database.writing() as session:
        session.execute(text("SELECT 1"))

    postgres_server.start()
    assert postgres_house.balance("ann") == 100_000


def test_a_postgresql_that_ends_in_a_transaction_is_away(
    postgres_house: House, postgres_server: PostgresServer
) -> None:
    postgres_house.customer()

    def break_in_the_middle() -> None:
        with postgres_house.database.writing() as session:
            session.execute(update(User).values(credit_balance=1))
            postgres_server.stop()
            session.execute(select(User.id))

    with pytest.raises(DatabaseAway):
        break_in_the_middle()

    postgres_server.start()
    assert postgres_house.balance("ann") == 100_000


def test_a_deadlock_is_away_not_a_crash(postgres_house: House) -> None:
    """Should one ever happen: one of the two is rolled back whole, and may be tried again."""
    for user_id in ("ann", "bob"):
        postgres_house.customer(user_id)
    both_hold_one = threading.Barrier(2)

    def lock(first: str, second: str) -> None:
        with postgres_house.database.writing() as session:
            session.execute(update(User).where(User.id == first).values(name="x"))
            both_hold_one.wait(10)
            session.execute(update(User).where(User.id == second).values(name="x"))

    outcomes = all_at_once([lambda: lock("ann", "bob"), lambda: lock("bob", "ann")])

    assert sum(isinstance(outcome, DatabaseAway) for outcome in outcomes) == 1
    assert sum(outcome is None for outcome in outcomes) == 1


def test_a_sqlite_that_stays_locked_is_away(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "SQLITE_BUSY_S", 0.1)
    database = Database(sqlite_url)
    other = sqlite3.connect(tmp_path / "posegen.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseAway), database.writing() as session:
        session.execute(select(User.id))

    other.close()
    database.close()


def test_sqlite_keeps_its_promises_through_a_power_cut(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.reading() as session:
        settings = [
            session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    database.close()

    assert settings == ["wal", 2, 1]
