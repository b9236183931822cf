"""Real servers for every test that wants one: a private Redis, a PostgreSQL, and databases that are fresh each time.

Both servers start once a run, at the first test that asks; databases are copies of one that was migrated once.
"""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog
from support.servers import PostgresServer

from posegen.database import Database
from posegen.migrating import migrate
from posegen.private_redis import PrivateRedis


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Log plain tracebacks: structlog's own default draws every local variable, which takes seconds an error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """A real Redis: .url, .port, stop(), start() again with the same port and data, kill()."""
    server = PrivateRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> Iterator[str]:
    """The URL of a running, empty Redis. A test may stop `redis_server`; the next test finds it running again."""
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    yield redis_server.url
    redis_server.start()


@pytest.fixture(scope="session")
def _postgres_cluster() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_server(_postgres_cluster: PostgresServer) -> Iterator[PostgresServer]:
    """A real PostgreSQL: .url(database), stop(), start(), kill(). A test may stop it; the next finds it running."""
    _postgres_cluster.start()
    yield _postgres_cluster
    _postgres_cluster.start()


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    _migrate(f"sqlite:///{file}")
    leftovers = [name for name in file.parent.iterdir() if name != file]
    assert not leftovers, f"migrate() left the database open: {leftovers}"
    return file


@pytest.fixture(scope="session")
def _migrated_postgres(_postgres_cluster: PostgresServer) -> str:
    name = _postgres_cluster.create_database(f"migrated_{uuid.uuid4().hex}")
    _migrate(_postgres_cluster.url(name))
    return name


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite database without tables."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database without tables."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without tables, on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_sqlite: Path) -> str:
    """A migrated SQLite database without rows (but those that migrations write)."""
    file = tmp_path / "posegen.db"
    shutil.copyfile(_migrated_sqlite, file)
    return f"sqlite:///{file}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, _migrated_postgres: str) -> Iterator[str]:
    """A migrated PostgreSQL database without rows (but those that migrations write)."""
    name = postgres_server.create_database(template=_migrated_postgres)
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database without rows, on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def _migrate(url: str) -> None:
    database = Database(url)
    try:
        migrate(database)
    finally:
        database.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each package has, and how they ended."""
    outcomes = ("passed", "failed", "error", "skipped")
    packages: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        for report in terminalreporter.getreports(outcome):
            parts = report.nodeid.split("::")[0].split("/")
            counts = packages.setdefault(parts[1] if len(parts) > 2 else parts[-1], dict.fromkeys(outcomes, 0))
            counts[outcome] += 1
    terminalreporter.section("tests by package")
    for package, counts in sorted(packages.items()):
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        terminalreporter.line(f"{package:<16} {told}")
