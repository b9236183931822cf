"""The database: reachable, of this code's version, writable, as durable as money wants, and its clock."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from posegen import migrating
from posegen.database import MOST_OVERFLOW, Database, database_now
from posegen.doctor.findings import Finding, Told
from posegen.doctor.machine import existing
from posegen.doctor.subject import Subject
from posegen.errors import DatabaseAway

OLDEST_POSTGRESQL = 14
TOLD_SKEW_S, WRONG_SKEW_S = 2.0, 60.0
"""How far our clock may be from the database's: leases go by the database's, logins and picture links by ours."""
_POOL = 10 + MOST_OVERFLOW
_FAR_AWAY = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs", "lustre", "fuse.glusterfs"}
_ASKED = ("fsync", "full_page_writes", "synchronous_commit", "max_connections", "server_encoding", "server_version_num")
_START = "For a box of its own ./scripts/start migrates by itself; else: posegen migrate"


def check_database(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell everything about the database that orders depend on."""
    shown = "the embedded SQLite"
    try:
        url = make_url(subject.settings.sql_url)
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            path = sqlite_file(url)
            if not path.exists():
                yield from _no_file_yet(path, told)
                return
        database = Database(subject.settings.sql_url, pool_size=1)
    except (ArgumentError, ValueError):
        yield told.fail(
            "DATABASE_URL cannot be read as an address",
            "Write postgresql://user:password@host/database; special characters in the password as %40 and the like.",
        )
        return
    try:
        yield from _reachable(database, shown, told)
    except (DatabaseAway, SQLAlchemyError) as away:
        yield told.fail(f"{shown} does not answer: {_first_line(away)}", _remedy(url.get_backend_name()))
    finally:
        database.close()


def _reachable(database: Database, shown: str, told: Told) -> Iterator[Finding]:
    version = migrating.current_version(database)
    yield told.ok(f"{shown} answers")
    yield _migrations(version, told)
    if version is not None:
        yield from _writable(database, told)
    if database.dialect == "postgresql":
        yield from _postgresql(database, told)
        yield _clock(database, told)
    else:
        yield from _sqlite(sqlite_file(database.url), told)


def _migrations(version: str | None, told: Told) -> Finding:
    newest = migrating.newest_version()
    if version == newest:
        return told.ok(f"its tables are of version {version}, this code's")
    if version is None:
        return told.fail("it has no tables of ours", _START)
    if not migrating.is_known(version):
        return told.fail(
            f"its tables are of version {version}, which this code does not know: a newer Posegen made them",
            "Use the newer code, or restore the backup that was made before the upgrade.",
        )
    return told.fail(
        f"its tables are of version {version}, this code expects {newest}", "Back up, then: posegen migrate"
    )


def _writable(database: Database, told: Told) -> Iterator[Finding]:
    try:
        with database.writing() as session:  # SQLite begins to write even where it may not: only a row tells
            session.execute(text("UPDATE alembic_version SET version_num = version_num"))
    except (DatabaseAway, SQLAlchemyError) as error:
        remedy = "See who owns the file and its folder."
        if database.dialect == "postgresql":
            remedy = "Point DATABASE_URL at the primary server, as a role that may write."
        yield told.fail(f"nothing can be written to it: {_first_line(error)}", remedy)


def _postgresql(database: Database, told: Told) -> Iterator[Finding]:
    with database.reading() as session:
        asked = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
        found: dict[str, str] = {row.name: row.setting for row in session.execute(asked, {"names": list(_ASKED)})}
        in_use = session.execute(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
        connected = int(in_use.scalar_one())
    version = int(found["server_version_num"]) // 10_000
    if version < OLDEST_POSTGRESQL:
        yield told.warn(f"PostgreSQL {version} is older than what is tried here", "Upgrade to 15 or newer.")
    if found["server_encoding"] != "UTF8":
        yield told.fail(
            f"its encoding is {found['server_encoding']}: names and prompts would be refused",
            "Make the database with ENCODING 'UTF8'.",
        )
    careless = [name for name in ("fsync", "full_page_writes") if found[name] == "off"]
    if careless:
        yield told.fail(
            f"{' and '.join(careless)} off: a crash of its machine may destroy the books",
            "Set them on: postgresql.conf",
        )
    elif found["synchronous_commit"] == "off":
        yield told.warn(
            "synchronous_commit is off: a crash forgets orders that were confirmed",
            "ALTER SYSTEM SET synchronous_commit = on",
        )
    else:
        yield told.ok(f"PostgreSQL {version}: what it confirmed survives a crash")
    yield from tell_connections(int(found["max_connections"]), connected, told)


def tell_connections(most: int, in_use: int, told: Told) -> Iterator[Finding]:
    """Tell when PostgreSQL has no room for all that one more of our processes may open."""
    if most - in_use < _POOL:
        yield told.warn(
            f"{in_use} of {most} connections are in use; one of our processes opens up to {_POOL} under load",
            f"Raise max_connections to {_POOL} for each API process and worker, or put PgBouncer before it.",
        )


def _clock(database: Database, told: Told) -> Finding:
    with database.reading() as session:
        before = datetime.now(UTC)
        theirs = database_now(session)
        after = datetime.now(UTC)
    return tell_skew((theirs - before - (after - before) / 2).total_seconds(), told)


def tell_skew(skew_s: float, told: Told) -> Finding:
    """Tell how far the database's clock is before ours."""
    says = f"our clock and the database's are {abs(skew_s):.1f} s apart"
    remedy = "Let both machines follow a time server: apt-get install systemd-timesyncd, then timedatectl."
    if abs(skew_s) > WRONG_SKEW_S:
        return told.fail(f"{says}: logins and picture links end at the wrong time", remedy)
    return told.warn(says, remedy) if abs(skew_s) > TOLD_SKEW_S else told.ok(says)


def _sqlite(path: Path, told: Told) -> Iterator[Finding]:
    kind = _filesystem(path)
    if kind in _FAR_AWAY:
        yield told.fail(
            f"{path} lies on {kind}, where SQLite's locks and its WAL do not work",
            "Move VAR_DIR to a local disk, or use PostgreSQL; several boxes need PostgreSQL.",
        )
    else:
        yield told.ok(f"SQLite {sqlite3.sqlite_version}, for workers of this machine only")


def _no_file_yet(path: Path, told: Told) -> Iterator[Finding]:
    yield told.fail(f"there is no database yet ({path})", _START)
    kind = _filesystem(existing(path.absolute()))
    if kind in _FAR_AWAY:
        yield told.fail(f"it would lie on {kind}, where SQLite does not work", "Move VAR_DIR to a local disk.")


def sqlite_file(url: URL) -> Path:
    """Return the file of a SQLite address, also of one that is written as a URI."""
    return Path((url.database or "").removeprefix("file:"))


def _filesystem(path: Path) -> str:
    """Return the kind of file system that a path lies on, as the kernel names it; empty where it does not say."""
    there = path.resolve()
    mounts = [(Path(found.mountpoint), found.fstype) for found in psutil.disk_partitions(all=True)]
    holding = [(len(point.parts), kind) for point, kind in mounts if there.is_relative_to(point)]
    return str(max(holding, default=(0, ""))[1])


def _remedy(backend: str) -> str:
    if backend == "sqlite":
        return "See who owns the file and its folder, and that the disk is not full."
    return "See that it runs, that its pg_hba.conf lets this machine in, and that DATABASE_URL is right."


def _first_line(error: BaseException) -> str:
    """Return why, in one line: what the driver said, which names hosts and users but no passwords."""
    cause = error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return (str(cause).splitlines() or [type(cause).__name__])[0]
