"""Databases of the domain's tests: opened for a test, closed after it."""

from collections.abc import Iterator

import pytest
from support.house import House

from posegen.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty database, on SQLite and on PostgreSQL."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def house(database: Database) -> House:
    """A house with a shelf of poses and no customers yet, on SQLite and on PostgreSQL."""
    return House(database)


@pytest.fixture
def postgres_house(postgres_url: str) -> Iterator[House]:
    """The same on PostgreSQL only, for what only row locks can show."""
    opened = Database(postgres_url, pool_size=20)
    yield House(opened)
    opened.close()


@pytest.fixture
def sqlite_house(sqlite_url: str) -> Iterator[House]:
    """The same on SQLite only, for what has nothing to do with the database."""
    opened = Database(sqlite_url)
    yield House(opened)
    opened.close()
