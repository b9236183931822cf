"""A running API with a customer, on the databases that a test needs."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.house import House
from support.serving import Served, serving, settings_for

from posegen.database import Database

A_CENTURY_S = 100 * 365 * 24 * 3600.0
"""A claim of the house is made at NOW, and the API takes back what has lapsed by the real clock: between two lines."""


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    """Poses and a customer, ann, with 1000 credits and a project; on SQLite and on PostgreSQL."""
    yield from _house(database_url)


@pytest.fixture
def sqlite_house(sqlite_url: str) -> Iterator[House]:
    """The same on SQLite only, for what has nothing to do with the database."""
    yield from _house(sqlite_url)


@pytest.fixture
def served(house: House, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Served]:
    """The API with Redis, on SQLite and on PostgreSQL."""
    with serving(settings_for(database_url, tmp_path, redis_url=redis_url)) as running:
        yield running


@pytest.fixture
def sqlite_served(sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[Served]:
    """The API with Redis, on SQLite only."""
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url)) as running:
        yield running


@pytest.fixture
def ann(served: Served) -> httpx2.Client:
    """Ann's client, on SQLite and on PostgreSQL."""
    return served.client("ann")


@pytest.fixture
def sqlite_ann(sqlite_served: Served) -> httpx2.Client:
    """Ann's client, on SQLite only."""
    return sqlite_served.client("ann")


def _house(url: str) -> Iterator[House]:
    database = Database(url)
    house = House(database, lease_s=A_CENTURY_S)
    house.customer("ann", credits=1000)
    yield house
    database.close()
