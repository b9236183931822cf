"""A whole database as one file, and back: PostgreSQL by its own pg_dump and pg_restore, SQLite by its online backup.

A dump shows one moment of the database while orders go on. Loading is all or nothing, into a database without tables.
"""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, inspect

from posegen.database import Database
from posegen.errors import Conflict, Unavailable

_ENDINGS = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}


class DumpFailed(Unavailable):
    """The database's own tools could not write or read the dump; the text ends with what they said."""

    code = "dump_failed"

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} could not do it: {reason}")
        self.program, self.reason = program, reason


class NotWiped(Conflict):
    """There is something where a backup would be laid: nothing is overwritten."""

    code = "not_wiped"

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is not empty, and nothing is overwritten: give the backup an empty place.")
        self.where = where


def dump_name(dialect: str) -> str:
    """Return what a dump of this kind of database is called."""
    return _ENDINGS[dialect]


def dump(database: Database, file: Path) -> None:
    """Write one moment of the database into a new file, and wait until it is on the disk. Raises DumpFailed."""
    if database.dialect == "sqlite":
        _dump_sqlite(Path(str(database.url.database)), file)
    else:
        _run("pg_dump", database.url, ["--format=custom", f"--file={file}"])
    with file.open("rb") as written:
        os.fsync(written.fileno())


def load(database: Database, file: Path) -> None:
    """Lay a dump into a database without tables. Raises NotWiped, DumpFailed, DatabaseAway; then nothing was laid."""
    if database.dialect == "sqlite":
        _load_sqlite(Path(str(database.url.database)), file)
        return
    with database.without_limits() as connection:
        if inspect(connection).get_table_names():
            raise NotWiped(f"The database {database.url.database}")
    whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", database.url, [*whole, f"--dbname={database.url.database}", str(file)])


def _dump_sqlite(path: Path, file: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(file)) as target,
        ):
            source.backup(target)  # in one step: writers go on in the WAL meanwhile
            target.execute("PRAGMA journal_mode=DELETE").close()  # one file, with nothing beside it
    except sqlite3.Error as error:
        raise DumpFailed("SQLite's backup", str(error)) from error


def _load_sqlite(path: Path, file: Path) -> None:
    for there in (path, path.with_name(f"{path.name}-wal")):
        if there.exists() and there.stat().st_size:
            raise NotWiped(str(there))
    draft = path.with_name(f"{path.name}.restoring")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, draft)
        with closing(sqlite3.connect(draft)) as copy:
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise DumpFailed("SQLite", f"the copy is damaged: {verdict}")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise DumpFailed("SQLite", str(error)) from error
    finally:
        draft.unlink(missing_ok=True)


def _run(name: str, url: URL, arguments: list[str]) -> None:
    """Run one of PostgreSQL's programs on the database of `url`; the password goes through its environment."""
    program = _program(name)
    query = {key: value for key, value in url.query.items() if isinstance(value, str)}
    surroundings = {
        "PATH": os.defpath,
        "LC_ALL": "C",  # its words are read below
        "PGHOST": str(query.get("host", url.host or "")),
        "PGPORT": str(url.port or query.get("port", "")),
        "PGUSER": url.username or "",
        "PGDATABASE": url.database or "",
        "PGPASSWORD": str(url.password or ""),
        "PGSSLMODE": str(query.get("sslmode", "")),
        "PGSSLROOTCERT": str(query.get("sslrootcert", "")),
        "PGCONNECT_TIMEOUT": "10",
    }
    done = subprocess.run(  # noqa: S603 - our own words
        [program, "--no-password", *arguments],
        env={key: value for key, value in surroundings.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DumpFailed(name, (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])


def _program(name: str) -> str:
    """Return one of PostgreSQL's programs: the PATH's, else the newest that Debian put aside. Raises DumpFailed."""
    found = shutil.which(name)
    if found is not None:
        return found
    aside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parent.parent.name))
    if not aside:
        raise DumpFailed(name, "it is not installed here: apt-get install postgresql-client")
    return str(aside[-1])
