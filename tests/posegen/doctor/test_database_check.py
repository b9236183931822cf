"""Databases that are away, old, newer, read-only, careless or of another time: real ones."""

from pathlib import Path

import pytest
from sqlalchemy import make_url
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of
from support.servers import PostgresServer

from posegen.database import Database
from posegen.doctor.database import check_database, tell_connections, tell_skew
from posegen.doctor.findings import Told, Verdict
from posegen.migrating import migrate, newest_version


def faults(tmp_path: Path, url: str) -> str:
    return said(findings_of(check_database, subject_of(tmp_path, database_url=url)), FAIL)


def run(url: str, statement: str) -> None:
    database = Database(url)
    with database.writing() as session:
        session.connection().exec_driver_sql(statement)
    database.close()


def test_a_good_sqlite_is_well(tmp_path: Path, sqlite_url: str) -> None:
    found = findings_of(check_database, subject_of(tmp_path, database_url=sqlite_url))

    assert {finding.verdict for finding in found} == {OK}
    assert f"version {newest_version()}" in said(found, OK)


def test_a_postgresql_without_fsync_is_the_only_thing_wrong_with_the_tests_own(
    tmp_path: Path, postgres_url: str
) -> None:
    found = findings_of(check_database, subject_of(tmp_path, database_url=postgres_url))

    assert [finding.says for finding in found if finding.verdict is FAIL] == [
        "fsync and full_page_writes off: a crash of its machine may destroy the books"
    ]
    assert "our clock and the database's are 0.0 s apart" in said(found, OK)


def test_a_database_without_tables_is_told(tmp_path: Path, empty_database_url: str) -> None:
    if empty_database_url.startswith("sqlite"):
        Database(empty_database_url).engine.connect().close()

    assert "it has no tables of ours" in faults(tmp_path, empty_database_url)


def test_an_old_version_is_told_with_both_numbers(tmp_path: Path, empty_database_url: str) -> None:
    database = Database(empty_database_url)
    migrate(database, to="0003")
    database.close()

    assert f"version 0003, this code expects {newest_version()}" in faults(tmp_path, empty_database_url)


def test_a_version_of_a_newer_code_is_told(tmp_path: Path, database_url: str) -> None:
    run(database_url, "UPDATE alembic_version SET version_num = '9999'")

    assert "version 9999, which this code does not know" in faults(tmp_path, database_url)


def test_a_sqlite_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "there is no database yet" in faults(tmp_path, "")
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_that_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "posegen.db"
    file.write_bytes(b"not a database at all, but long enough to look at" * 50)

    assert "file is not a database" in faults(tmp_path, f"sqlite:///{file}")


def test_a_read_only_sqlite_is_told(tmp_path: Path, sqlite_url: str) -> None:
    path = make_url(sqlite_url).database

    assert "nothing can be written to it" in faults(tmp_path, f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_read_only_postgresql_is_told(tmp_path: Path, postgres_url: str) -> None:
    name = make_url(postgres_url).database
    run(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    assert "nothing can be written to it" in faults(tmp_path, postgres_url)


def test_an_asynchronous_commit_is_worth_knowing(tmp_path: Path) -> None:
    server = PostgresServer(durable=True)
    try:
        server.start()
        database = Database(server.url())
        migrate(database)
        database.close()
        well = findings_of(check_database, subject_of(tmp_path, database_url=server.url()))
        run(server.url(), "ALTER DATABASE postgres SET synchronous_commit = off")
        hasty = findings_of(check_database, subject_of(tmp_path, database_url=server.url()))
    finally:
        server.remove()

    assert {finding.verdict for finding in well} == {OK}
    assert "synchronous_commit is off" in said(hasty, WARN)


def test_a_postgresql_that_is_away_is_told_without_its_password(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    postgres_server.stop()
    url = postgres_server.url().replace("posegen@", "posegen:hunter2@")

    told = faults(tmp_path, url)

    assert "does not answer" in told
    assert "hunter2" not in told


def test_an_address_that_cannot_be_read_is_told_without_it(tmp_path: Path) -> None:
    told = faults(tmp_path, "postgresql://ann:hunter2@host:port/x")

    assert "cannot be read as an address" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(("skew_s", "verdict"), [(0.5, OK), (-5.0, WARN), (90.0, FAIL), (-3600.0, FAIL)])
def test_a_clock_that_goes_wrong_is_told(skew_s: float, verdict: Verdict) -> None:
    assert tell_skew(skew_s, Told("database")).verdict is verdict


def test_a_postgresql_without_room_for_one_more_process_is_told() -> None:
    assert [finding.verdict for finding in tell_connections(100, 80, Told("database"))] == [WARN]
    assert list(tell_connections(100, 20, Told("database"))) == []
