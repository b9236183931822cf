"""The connection to SQL: SQLite (embedded default) or PostgreSQL, with the same promises.

Reads and writes are told apart because SQLite must take its write lock when a transaction begins: a deferred
transaction that later wants to write fails at once when somebody else wrote in between.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from posegen.crash_points import Act, Moment, reached
from posegen.errors import BadInput, DatabaseAway, OutcomeUnknown
from posegen.tallies import counted

SQLITE_BUSY_S = 15.0
"""How long a SQLite writer waits for the one before it."""
MOST_OVERFLOW = 20
"""So many connections beyond the pool's size are opened when all are in use."""


class Database:
    """One process's pool of connections. Give it a URL; `reading()` and `writing()` yield sessions.

    Making one connects to nothing; it raises DatabaseAway for a SQLite file in a folder that cannot be made.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = make_url(url)
        if self.url.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(url, pool_size)
        else:
            from posegen.postgresql import postgresql_engine  # loads psycopg, a tenth of a second

            self.engine = postgresql_engine(self.url, pool_size=pool_size, max_overflow=MOST_OVERFLOW)
        self._writer = self.engine.execution_options(writes=True)
        self._one_writes = threading.Lock()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that only reads; nothing is committed. Raises DatabaseAway when SQL cannot be reached."""
        with _away_told(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, act: Act = Act.COMMIT_REQUEST) -> Iterator[Session]:
        """Yield a session in one transaction: committed at the end, rolled back if the block raises.

        Raises DatabaseAway when SQL cannot be reached; then nothing of the block was kept. For a connection that broke
        inside COMMIT itself this is OutcomeUnknown, for only SQL knows (every write of ours is safe to repeat).
        """
        with _away_told(), self._in_turn(), Session(self._writer, expire_on_commit=False) as session:
            is_committing = False
            try:
                with counted(session), session.begin():
                    yield session
                    session.flush()  # what can be refused is refused before COMMIT
                    reached(Moment.BEFORE, act)
                    is_committing = True
            except DBAPIError as error:
                if is_committing and error.connection_invalidated:
                    raise OutcomeUnknown from error
                raise
            reached(Moment.AFTER, act)

    @contextmanager
    def without_limits(self) -> Iterator[Connection]:
        """Yield a connection in one writing transaction whose statements may take any time, for migrations.

        Raises DatabaseAway when there is no connection to be had; what goes wrong on it is the caller's.
        """
        with _away_told():
            connection = self._writer.connect()
        with connection, self._unlimited(connection):
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the whole database, however long it reads.

        Nobody waits for it and it waits for nobody. Raises DatabaseAway.
        """
        with _away_told(), self.engine.connect() as connection, self._unlimited(connection, writes=False):
            if self.dialect == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let the writers of this process through one by one on SQLite, where only one can write anyway.

        Left to SQLite they ask again after ever longer pauses, and some are overtaken for seconds. Raises DatabaseAway.
        """
        if self.dialect != "sqlite":
            yield
            return
        if not self._one_writes.acquire(timeout=SQLITE_BUSY_S):
            raise DatabaseAway
        try:
            yield
        finally:
            self._one_writes.release()

    def _unlimited(self, connection: Connection, *, writes: bool = True) -> AbstractContextManager[object]:
        if self.dialect != "postgresql":
            return _begin_rebuilding(connection) if writes else connection.begin()
        from posegen.postgresql import begin_without_limits

        return begin_without_limits(connection)


def database_now(session: Session) -> datetime:
    """Read the clock that leases are measured by: the database's own, so that hosts need not agree."""
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)  # SQLite lives on this host, so this is its clock


@contextmanager
def _away_told() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseAway from error
    except DataError as error:  # PostgreSQL's own: a NUL character, a number or text beyond its column
        raise BadInput("The input holds a text or a number that cannot be stored.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseAway from error
        raise


@contextmanager
def _begin_rebuilding(connection: Connection) -> Iterator[None]:
    """Run one transaction of SQLite in which tables may be rebuilt: with foreign keys on, rows would go with a table.

    They are checked at the end instead. Raises ValueError for a row that names one that is not there.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF").close()
    try:
        with connection.begin():
            before = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
            yield
            if connection.exec_driver_sql("PRAGMA schema_version").scalar_one() != before:
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise ValueError(f"row {broken[1]} of {broken[0]} names a row of {broken[2]} that is not there")
    finally:
        driver.execute("PRAGMA foreign_keys=ON").close()


def _sqlite_engine(url: str, pool_size: int) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseAway from error
    engine = create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_S},
        pool_size=pool_size,
        max_overflow=MOST_OVERFLOW,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin event below says BEGIN, not the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
