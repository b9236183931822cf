"""The day's chores: one process does them, in slices beside its healing, and a failure puts them off."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from support.house import NOW, House, all_at_once, later

from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import database_now
from posegen.errors import StorageAway
from posegen.reconciler import Healer
from posegen.storage import Links, ListedFile, Storage
from posegen.tables import StoredObject
from posegen.turns import is_taken, is_turn, take_turn
from posegen.upkeep import LOOK_EVERY_S, SLICE_S, Upkeep

A_DAY_S = 24 * 3600


class Clock:
    """Moves by `tick_s` with every look at it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.tick_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


def take(house: House, *, at_s: float = 0.0) -> bool:
    with house.database.writing() as session:
        return take_turn(session, now=later(at_s))


@pytest.fixture
def house(house: House) -> House:
    """A house that has had customers for years, on SQLite and on PostgreSQL."""
    house.customer("founder", since=NOW.replace(year=2000))
    return house


@pytest.fixture
def sqlite_house(sqlite_house: House) -> House:
    """The same on SQLite only."""
    sqlite_house.customer("founder", since=NOW.replace(year=2000))
    return sqlite_house


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    """A store with ten old files that no row names."""
    folder = tmp_path / "storage"
    made = Storage(folder)
    for number in range(10):
        made.put(f"generations/g{number}/old.png", b"1")
        os.utime(folder / f"generations/g{number}/old.png", (time.time() - 2 * A_DAY_S,) * 2)
    return made


def left(store: Storage) -> int:
    return sum(len(page) for page in store.pages())


def test_of_many_at_once_one_gets_the_days_turn(house: House) -> None:
    won = all_at_once([lambda: take(house)] * 8)

    assert sorted(map(bool, won)) == [False] * 7 + [True]


def test_the_next_day_has_its_own_turn_and_the_old_ones_are_forgotten(house: House) -> None:
    days = [take(house, at_s=day * A_DAY_S) for day in (0, 0, 1, 2, 2)]

    assert days == [True, False, True, True, False]
    with house.database.reading() as session:
        assert is_taken(session, now=NOW + timedelta(days=2))
        keys = session.scalars(select(StoredObject.key)).all()
    assert len(keys) == 1
    assert is_turn(keys[0])


def test_a_process_looks_for_the_turn_only_after_a_while_and_then_does_the_chores(house: House, store: Storage) -> None:
    clock = Clock()
    upkeep = Upkeep(house.database, store, keep=None, clock=clock)

    upkeep.go_on()
    assert left(store) == 10

    clock.now_s += LOOK_EVERY_S
    upkeep.go_on()
    assert left(store) == 0


def test_of_two_processes_one_does_the_chores(sqlite_house: House, store: Storage) -> None:
    clock = Clock()
    one, other = (Upkeep(sqlite_house.database, store, keep=None, clock=clock) for _ in range(2))
    clock.now_s += LOOK_EVERY_S
    clock.tick_s = SLICE_S / 2  # so that each slice is one piece of work

    one.go_on()
    began_with = left(store)
    other.go_on()
    assert left(store) == began_with > 0
    for _ in range(40):
        one.go_on()

    assert left(store) == 0


def test_the_chores_hold_up_a_round_of_healing_for_a_slice_only(sqlite_house: House, store: Storage) -> None:
    clock = Clock()
    upkeep = Upkeep(sqlite_house.database, store, keep=None, clock=clock)
    clock.now_s += LOOK_EVERY_S
    clock.tick_s = SLICE_S / 4

    began_s = clock.now_s
    upkeep.go_on()

    assert clock.now_s - began_s < 3 * SLICE_S
    assert left(store) > 0


class StoreAway(Storage):
    """A store that cannot be listed."""

    def pages(self) -> Iterator[list[ListedFile]]:
        raise StorageAway("its list of files")


def test_a_store_that_is_away_puts_the_chores_off_to_the_next_day(
    sqlite_house: House, store: Storage, tmp_path: Path
) -> None:
    clock = Clock()
    upkeep = Upkeep(sqlite_house.database, StoreAway(tmp_path / "storage"), keep=None, clock=clock)

    for _ in range(3):
        clock.now_s += LOOK_EVERY_S
        upkeep.go_on()

    assert left(store) == 10
    with sqlite_house.database.reading() as session:
        assert is_taken(session, now=database_now(session))


def test_the_healer_goes_on_with_the_chores_after_its_round(sqlite_house: House) -> None:
    class Chores(Upkeep):
        slices = 0

        def go_on(self) -> None:
            self.slices += 1

    chores = Chores.__new__(Chores)
    bell = Bell("redis://127.0.0.1:1/0")
    announcer = Announcer(sqlite_house.database, bell, Links("a secret", life_s=60))
    healer = Healer(announcer, every_s=3, upkeep=chores)

    healer.heal()
    healer.heal()
    bell.close()

    assert chores.slices == 2
