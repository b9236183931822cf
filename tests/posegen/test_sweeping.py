"""Files that no row names are deleted once they are a day old; rows whose file is missing are reported."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.house import NOW, House

from posegen import sweeping
from posegen.database import Database
from posegen.storage import Storage
from posegen.sweeping import JSON_COLUMNS, KEY_COLUMNS, Swept, missing_files, sweep
from posegen.tables import Avatar, GeneratedPicture, LibraryPose, Row, StoredObject, WorkItem
from posegen.turns import take_turn

A_DAY_S = 24 * 3600
YEARS_AGO = NOW.replace(year=2000)
NOT_OF_A_FILE = {"idempotency_keys.key", "work_items.variation_key", "generated_pictures.variation_key"}


@pytest.fixture
def house(house: House) -> House:
    """A house that has had customers for years, on SQLite and on PostgreSQL."""
    house.customer("founder", since=YEARS_AGO)
    return house


@pytest.fixture
def sqlite_house(sqlite_house: House) -> House:
    """The same on SQLite only."""
    sqlite_house.customer("founder", since=YEARS_AGO)
    return sqlite_house


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def store(folder: Path) -> Storage:
    return Storage(folder)


def put(store: Storage, folder: Path, key: str, *, age_s: float) -> str:
    """Store a file as if it had been stored so long ago."""
    store.put(key, b"12345")
    os.utime(folder / key, (time.time() - age_s,) * 2)
    return key


def swept(house: House, store: Storage, *, dry_run: bool = False) -> Swept:
    found = Swept()
    for _ in sweep(house.database, store, found, dry_run=dry_run):
        pass
    return found


def name_it(house: House, *rows: Any) -> None:
    with house.database.writing() as session:
        session.add_all(rows)


def register(key: str) -> StoredObject:
    return StoredObject(key=key, content_type="image/png", size_bytes=5, created_at=NOW)


def test_a_day_old_file_without_a_row_is_deleted_with_its_folder(house: House, store: Storage, folder: Path) -> None:
    put(store, folder, "generations/g1/old-a1.png", age_s=A_DAY_S + 60)
    young = put(store, folder, "generations/g2/young-a1.png", age_s=A_DAY_S - 60)
    named = put(store, folder, "generations/g3/named-a1.png", age_s=A_DAY_S + 60)
    name_it(house, register(named))

    found = swept(house, store)

    assert (found.files, found.deleted, found.deleted_bytes) == (3, 1, 5)
    assert (store.holds(young), store.holds(named)) == (True, True)
    assert sorted(path.name for path in (folder / "generations").iterdir()) == ["g2", "g3"]


def test_a_dry_run_deletes_nothing(house: House, store: Storage, folder: Path) -> None:
    key = put(store, folder, "generations/g1/old-a1.png", age_s=2 * A_DAY_S)
    put(store, folder, "generations/g1/young-a1.png", age_s=60)

    assert swept(house, store, dry_run=True).deleted == 1
    assert store.holds(key)


def test_a_file_stays_whichever_column_names_it(house: House, store: Storage, folder: Path) -> None:
    """Also without its stored object's row: what a customer's row names is never deleted."""
    house.customer()
    house.order("ann", 2)
    claims = house.claim(2)
    for claim in claims:
        house.deliver(claim)
    keys = {column: f"some/{number}/file.png" for number, column in enumerate((*KEY_COLUMNS, *JSON_COLUMNS))}
    for key in keys.values():
        put(store, folder, key, age_s=2 * A_DAY_S)
    avatar = Avatar(user_id="ann", name="Ann", width_px=1, height_px=1, created_at=NOW, updated_at=NOW)
    avatar.image_key, avatar.thumbnail_key = keys[Avatar.image_key], keys[Avatar.thumbnail_key]
    name_it(house, avatar, register(keys[StoredObject.key]))
    with house.database.writing() as session:
        for table in (LibraryPose, GeneratedPicture):
            values = {column.key: key for column, key in keys.items() if column.class_ is table}
            values.pop("export_keys", None)
            first = house.pose_ids[0] if table is LibraryPose else house.pictures(claims[0].generation_id)[0].id
            session.execute(update(table).where(table.id == first).values(**values))
        exports = {"original": "x/y.png", "tiktok": keys[GeneratedPicture.export_keys]}
        session.execute(update(GeneratedPicture).values(export_keys=exports))
        session.execute(update(WorkItem).values(extras={"photo": {"key": keys[WorkItem.extras]}}))

    assert swept(house, store).deleted == 0


def test_every_column_that_holds_keys_is_known_to_the_sweep() -> None:
    """A new column that names files belongs into KEY_COLUMNS or JSON_COLUMNS, or its files are deleted."""
    known = {f"{column.class_.__tablename__}.{column.key}" for column in (*KEY_COLUMNS, *JSON_COLUMNS)}

    found = {
        f"{table.name}.{column.name}"
        for table in Row.metadata.tables.values()
        for column in table.columns
        if column.name in {"key", "keys", "extras"} or column.name.endswith(("_key", "_keys"))
    }

    assert found - NOT_OF_A_FILE == known


def test_a_key_that_is_only_the_beginning_of_a_named_one_is_not_named(
    house: House, store: Storage, folder: Path
) -> None:
    put(store, folder, "detections/1/photo.png", age_s=2 * A_DAY_S)
    house.customer()
    house.order("ann", 1)
    with house.database.writing() as session:
        session.execute(update(WorkItem).values(extras={"key": "detections/1/photo.png-other"}))

    assert swept(house, store).deleted == 1


def test_a_file_that_is_stored_anew_while_the_sweep_looks_stays(
    sqlite_house: House, store: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeding writes the library's keys again; its row comes with its commit."""
    key = put(store, folder, "library/standing/map.png", age_s=2 * A_DAY_S)
    look: Callable[..., set[str]] = sweeping.unnamed_keys

    def look_then_store(*given: Any) -> set[str]:
        unnamed = look(*given)
        store.put(key, b"anew")
        return unnamed

    monkeypatch.setattr(sweeping, "unnamed_keys", look_then_store)

    assert swept(sqlite_house, store).deleted == 0
    assert store.get(key) == b"anew"


def test_many_files_are_looked_at_page_by_page(sqlite_house: House, store: Storage, folder: Path) -> None:
    (folder / "generations" / "g1").mkdir(parents=True)
    for number in range(1100):
        (folder / "generations" / "g1" / f"{number}.png").write_bytes(b"1")
    name_it(sqlite_house, *(register(f"generations/g1/{number}.png") for number in range(0, 1100, 2)))
    for number in range(1100):
        os.utime(folder / "generations" / "g1" / f"{number}.png", (time.time() - 2 * A_DAY_S,) * 2)

    found = swept(sqlite_house, store)

    assert (found.files, found.deleted) == (1100, 550)
    assert {int(path.stem) % 2 for path in (folder / "generations" / "g1").iterdir()} == {0}


def test_what_a_killed_process_left_half_written_is_deleted_too(
    sqlite_house: House, store: Storage, folder: Path
) -> None:
    put(store, folder, "generations/g1/whole.png", age_s=60)
    for name, age_s in (("old.png#1", 2 * A_DAY_S), ("young.png#1", 60)):
        (folder / "generations/g1" / name).write_bytes(b"half")
        os.utime(folder / "generations/g1" / name, (time.time() - age_s,) * 2)

    assert swept(sqlite_house, store).unfinished == 1

    assert sorted(path.name for path in (folder / "generations/g1").iterdir()) == ["whole.png", "young.png#1"]


def test_files_that_are_older_than_the_database_are_somebody_elses(
    database: Database, store: Storage, folder: Path
) -> None:
    """A process that was started with another database, or with an empty one, must not delete a studio's pictures."""
    house = House(database)
    put(store, folder, "generations/g1/theirs.png", age_s=9 * A_DAY_S)
    put(store, folder, "generations/g2/ours.png", age_s=2 * A_DAY_S)

    empty = swept(house, store)
    house.customer(since=datetime.now(UTC) - timedelta(days=3))
    young = swept(house, store)

    assert (empty.deleted, empty.older) == (0, 2)
    assert (young.deleted, young.older) == (1, 1)
    assert store.holds("generations/g1/theirs.png")


def test_two_sweeps_at_once_disturb_nobody(house: House, store: Storage, folder: Path) -> None:
    for number in range(20):
        put(store, folder, f"generations/g{number}/old.png", age_s=2 * A_DAY_S)
    one, other = Swept(), Swept()
    works = [sweep(house.database, store, found) for found in (one, other)]

    while works:
        works = [work for work in works if next(work, works) is not works]

    assert one.deleted + other.deleted >= 20
    assert list(store.pages()) == []


def test_rows_whose_file_is_missing_are_named(house: House, store: Storage, folder: Path) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim(1)[0]
    house.deliver(claim)
    picture = house.pictures(claim.generation_id)[0]
    put(store, folder, picture.thumbnail_key or "", age_s=1)
    with house.database.writing() as session:
        session.execute(update(GeneratedPicture).values(original_key="generations/g/never-registered.png"))
        take_turn(session, now=NOW)

    missing = list(missing_files(house.database, store))

    assert sorted(missing) == sorted([picture.output_key, "generations/g/never-registered.png"])


def test_the_listing_of_a_big_table_goes_on_behind_the_first_page(
    sqlite_house: House, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_ROWS_PER_PAGE", 3)
    name_it(sqlite_house, *(register(f"some/file-{number}.png") for number in range(10)))

    assert len(list(missing_files(sqlite_house.database, store))) == 10
