"""Anything that may happen to money and pictures, in any order, leaves books that agree: a short run of the machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from money_machine import run_machine
from sqlalchemy import make_url
from support.servers import PostgresServer

from posegen.database import Database

TAKEN = ("order", "claim", "won", "recover", "wait")


def test_nothing_that_can_happen_makes_the_books_disagree_on_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    migrated = make_url(sqlite_url).database or ""

    @contextmanager
    def fresh() -> Iterator[Database]:
        for left in tmp_path.glob("money.db*"):
            left.unlink()
        shutil.copyfile(migrated, tmp_path / "money.db")
        database = Database(f"sqlite:///{tmp_path / 'money.db'}")
        try:
            yield database
        finally:
            database.close()

    taken = run_machine(fresh, examples=15, steps=40, repeatable=True)

    assert all(taken[step] for step in TAKEN), taken
    assert taken["examples"] >= 15
    assert taken["steps"] >= 0.9 * 15 * 40


def test_nothing_that_can_happen_makes_the_books_disagree_on_postgresql(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    migrated = make_url(postgres_url).database or ""

    @contextmanager
    def fresh() -> Iterator[Database]:
        name = postgres_server.create_database(template=migrated)
        database = Database(postgres_server.url(name))
        try:
            yield database
        finally:
            database.close()
            postgres_server.drop_database(name)

    taken = run_machine(fresh, examples=3, steps=40, repeatable=True)

    assert taken["won"], taken
