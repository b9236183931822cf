"""The connection to SQL: what a transaction promises, and what counts as away."""

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, StatementError
from support.house import NOW, House, all_at_once
from support.servers import PostgresServer
from support.waiting import wait_until

from posegen import database as database_module
from posegen import postgresql
from posegen.database import Database, database_now
from posegen.errors import BadInput, DatabaseAway, OutcomeUnknown
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


def test_writers_of_a_process_wait_for_each_other_without_asking_sqlite(sqlite_house: House) -> None:
    """SQLite's own waiting lets some be overtaken for seconds."""
    sqlite_house.customer(credits=0)
    waiting = threading.Thread(target=add_ten, args=(sqlite_house.database,))

    with sqlite_house.database.writing() as session:
        session.execute(update(User).values(credit_balance=5))
        waiting.start()
        waiting.join(0.3)
        connections = sqlite_house.database.engine.pool.checkedout()  # type: ignore[attr-defined]
        is_waiting = waiting.is_alive()
    waiting.join(10)

    assert (is_waiting, connections) == (True, 1)
    assert sqlite_house.balance("ann") == 15


def test_a_writer_that_never_ends_counts_as_a_database_that_is_away(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "SQLITE_BUSY_S", 0.05)
    sqlite_house.customer(credits=0)

    with sqlite_house.database.writing():
        (outcome,) = all_at_once([lambda: add_ten(sqlite_house.database)])
    add_ten(sqlite_house.database)

    assert isinstance(outcome, DatabaseAway)
    assert sqlite_house.balance("ann") == 10


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


def test_what_the_database_refuses_is_named_without_its_values(house: House) -> None:
    """Errors are logged, and values may be prompts or hashes of passwords."""
    with pytest.raises(IntegrityError) as refused, house.database.writing() as session:
        create_project(session, "nobody", name="a secret wish", description=None, avatar_image_url=None, now=NOW)

    assert "a secret wish" not in str(refused.value)


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

    with pytest.raises(DatabaseAway) as away:
        break_in_the_middle()
    assert type(away.value) is DatabaseAway  # before COMMIT: certainly nothing was kept

    postgres_server.start()
    assert postgres_house.balance("ann") == 100_000


def test_a_row_that_the_database_refuses_is_not_quoted(postgres_house: House) -> None:
    postgres_house.customer()

    with pytest.raises(IntegrityError) as refused, postgres_house.database.writing() as session:
        session.execute(update(User).values(credit_balance=-1))

    assert "balance_not_negative" in str(refused.value)
    assert "ann@example.com" not in str(refused.value)
    assert "ann@example.com" not in str(refused.value.__cause__)


@pytest.fixture
def hasty_house(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """On a PostgreSQL of which little patience is had, though in the house's own proportions."""
    for name, limit_s in (("STATEMENT_S", 0.3), ("IDLE_TRANSACTION_S", 0.6), ("ANSWER_S", 1.5)):
        monkeypatch.setattr(postgresql, name, limit_s)
    database = Database(postgres_url)
    house = House(database)
    house.customer()
    yield house
    database.close()


def test_a_statement_that_takes_too_long_is_away(hasty_house: House) -> None:
    with pytest.raises(DatabaseAway) as away, hasty_house.database.reading() as session:
        session.execute(text("SELECT pg_sleep(60)"))

    assert "statement timeout" in str(away.value.__cause__)
    assert hasty_house.balance("ann") == 100_000


def test_who_waits_too_long_for_a_lock_is_told_that_the_database_is_away(hasty_house: House) -> None:
    with hasty_house.database.writing() as session:
        session.execute(update(User).values(credit_balance=1))
        with pytest.raises(DatabaseAway) as away:
            add_ten(hasty_house.database)

    assert "timeout" in str(away.value.__cause__)
    assert hasty_house.balance("ann") == 1


def test_who_falls_silent_in_a_transaction_loses_it_and_its_locks(hasty_house: House) -> None:
    def fall_silent() -> None:
        with hasty_house.database.writing() as session:
            session.execute(update(User).values(credit_balance=1))
            wait_until(lambda: all_at_once([lambda: add_ten(hasty_house.database)]) == [None])

    with pytest.raises(DatabaseAway):
        fall_silent()

    assert hasty_house.balance("ann") == 100_010


def test_a_postgresql_that_is_silent_is_away_until_it_speaks(
    hasty_house: House, postgres_server: PostgresServer
) -> None:
    def freeze_in_the_middle() -> None:
        with hasty_house.database.writing() as session:
            session.execute(update(User).values(credit_balance=1))
            postgres_server.freeze()

    try:
        began = monotonic()
        with pytest.raises(OutcomeUnknown):
            freeze_in_the_middle()  # silent in COMMIT
        with pytest.raises(DatabaseAway):
            hasty_house.balance("ann")  # silent to a new connection
        assert monotonic() - began < 1.5 + 2 * postgresql.CONNECT_TIMEOUT_S
    finally:
        postgres_server.thaw()

    assert hasty_house.balance("ann") in (1, 100_000)  # only SQL knows what became of that COMMIT


def test_a_pooled_connection_that_fell_silent_is_away(hasty_house: House, postgres_server: PostgresServer) -> None:
    hasty_house.balance("ann")
    postgres_server.freeze()
    try:
        began = monotonic()
        with pytest.raises(DatabaseAway):
            hasty_house.balance("ann")
        assert monotonic() - began < 1.5 + 2 * postgresql.CONNECT_TIMEOUT_S
    finally:
        postgres_server.thaw()


def test_a_migration_may_take_its_time(hasty_house: House) -> None:
    with hasty_house.database.without_limits() as connection:
        connection.execute(text("SELECT pg_sleep(1.8)"))

    with pytest.raises(DatabaseAway), hasty_house.database.reading() as session:
        session.execute(text("SELECT pg_sleep(60)"))


def test_options_of_the_url_are_kept(postgres_url: str) -> None:
    database = Database(f"{postgres_url}?options=-c%20application_name%3Dours%20-c%20lock_timeout%3D77")
    with database.reading() as session:
        told = [session.execute(text(f"SHOW {name}")).scalar() for name in ("application_name", "lock_timeout")]
    database.close()

    assert told == ["ours", "77ms"]


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
