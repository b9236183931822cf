"""A service is kept, wiped and restored, on both databases: the books agree and every picture is there byte by byte."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text
from support.house import House

from posegen.backup import MANIFEST, BackupUnfit, make_backup, restore_backup
from posegen.books import read_books
from posegen.database import Database
from posegen.dumps import DumpFailed, NotWiped, dump, dump_name
from posegen.storage import Storage
from posegen.sweeping import missing_files
from posegen.tables import GeneratedPicture, StoredObject, User


@pytest.fixture
def kept(house: House, tmp_path: Path) -> Storage:
    """The pictures of a house with one order delivered and one half drawn; every file that a row names is there."""
    storage = Storage(tmp_path / "storage")
    house.customer("ann")
    house.order("ann", pictures=3)
    for claim in house.claim(rows=3):
        house.deliver(claim)
    house.order("ann", pictures=2)
    house.claim(rows=1)
    with house.database.reading() as session:
        for key in session.scalars(select(StoredObject.key)):
            storage.put(key, f"the picture {key}".encode())
    return storage


def wipe(database: Database) -> Database:
    """Leave nothing of a database, as its server or disk would after an accident, and open what is there now."""
    url = database.url.render_as_string(hide_password=False)
    if database.dialect == "sqlite":
        database.close()
        for file in Path(str(database.url.database)).parent.glob("posegen.db*"):
            file.unlink()
    else:
        with database.without_limits() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        database.close()
    return Database(url)


def contents(storage: Storage) -> dict[str, bytes]:
    return {file.key: storage.get(file.key) for page in storage.pages() for file in page}


def rows_of(database: Database) -> dict[str, int]:
    return read_books(database).rows


def test_what_was_kept_comes_back_whole(house: House, kept: Storage, tmp_path: Path) -> None:
    pictures, rows = contents(kept), rows_of(house.database)
    assert pictures
    told = list(make_backup(house.database, kept, tmp_path / "backup"))
    assert len(told) == 2

    wiped, empty = wipe(house.database), Storage(tmp_path / "new-storage")
    list(restore_backup(tmp_path / "backup", wiped, empty))

    assert contents(empty) == pictures
    assert rows_of(wiped) == rows
    assert read_books(wiped).agree
    assert list(missing_files(wiped, empty)) == []
    House.assert_books_balance(_house_of(wiped))
    wiped.close()


def _house_of(database: Database) -> House:
    """A house around a database that has everything already."""
    house = object.__new__(House)
    house.database, house.lease_s = database, 20
    return house


def test_a_restored_service_goes_on_where_it_was(house: House, kept: Storage, tmp_path: Path) -> None:
    list(make_backup(house.database, kept, tmp_path / "backup"))
    wiped = wipe(house.database)
    list(restore_backup(tmp_path / "backup", wiped, Storage(tmp_path / "new-storage")))

    again = _house_of(wiped)
    again.pose_ids = house.pose_ids
    for claim in again.claim(rows=4, worker="w2"):
        assert again.deliver(claim)

    with wiped.reading() as session:
        assert len(session.scalars(select(GeneratedPicture)).all()) >= 4
    assert read_books(wiped).agree
    wiped.close()


def test_orders_that_come_meanwhile_are_wholly_in_it_or_not_at_all(house: House, kept: Storage, tmp_path: Path) -> None:
    done = threading.Event()
    placed = 0

    def keep_ordering() -> None:
        nonlocal placed
        while not done.is_set():
            house.order("ann", pictures=1)
            placed += 1

    customer = threading.Thread(target=keep_ordering)
    customer.start()
    try:
        list(make_backup(house.database, kept, tmp_path / "backup"))
    finally:
        done.set()
        customer.join()

    assert placed > 0
    wiped = wipe(house.database)
    list(restore_backup(tmp_path / "backup", wiped, Storage(tmp_path / "new-storage")))
    assert read_books(wiped).agree
    wiped.close()


def test_nothing_is_laid_over_what_is_there(house: House, kept: Storage, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    list(make_backup(house.database, kept, backup))
    before = rows_of(house.database)

    with pytest.raises(NotWiped):
        list(make_backup(house.database, kept, backup))
    with pytest.raises(NotWiped, match="picture store"):
        list(restore_backup(backup, house.database, kept))
    with pytest.raises(NotWiped):
        list(restore_backup(backup, house.database, Storage(tmp_path / "new-storage")))

    assert rows_of(house.database) == before


def test_a_damaged_or_foreign_backup_is_refused_before_anything_is_changed(sqlite_house: House, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    list(make_backup(sqlite_house.database, storage, tmp_path / "backup"))
    empty = Database(f"sqlite:///{tmp_path / 'other.db'}")
    manifest, file = tmp_path / "backup" / MANIFEST, tmp_path / "backup" / dump_name("sqlite")
    whole, told = file.read_bytes(), json.loads(manifest.read_text())

    for changed, why in (
        ({"dialect": "postgresql"}, "backup of postgresql"),
        ({"tables": "9999"}, "version 9999"),
        ({"surprise": 1}, "cannot be read"),
    ):
        manifest.write_text(json.dumps({**told, **changed}))
        with pytest.raises(BackupUnfit, match=why):
            list(restore_backup(tmp_path / "backup", empty, storage))
    manifest.write_text(json.dumps(told))
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(BackupUnfit, match="not what was written"):
        list(restore_backup(tmp_path / "backup", empty, storage))
    with pytest.raises(BackupUnfit, match="no whole backup"):
        list(restore_backup(tmp_path, empty, storage))

    assert not (tmp_path / "other.db").exists()
    empty.close()


def test_a_backup_that_broke_off_has_not_its_name(sqlite_house: House, tmp_path: Path) -> None:
    class Full(Storage):
        """A store whose listing breaks, as a disk that dies does."""

        def pages(self) -> Iterator[list[object]]:  # type: ignore[override]
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        list(make_backup(sqlite_house.database, Full(tmp_path / "storage"), tmp_path / "backup"))
    assert not (tmp_path / "backup").exists()

    list(make_backup(sqlite_house.database, Storage(tmp_path / "storage"), tmp_path / "backup"))
    assert (tmp_path / "backup" / MANIFEST).exists()


def test_postgresql_that_refuses_is_told_without_its_password(postgres_house: House, tmp_path: Path) -> None:
    url = postgres_house.database.url.set(database="nowhere", password="hunter2")
    nowhere = Database(url.render_as_string(hide_password=False))
    with pytest.raises(DumpFailed, match="nowhere") as failed:
        dump(nowhere, tmp_path / "x")

    assert "hunter2" not in str(failed.value)
    with postgres_house.database.reading() as session:
        assert session.scalars(select(User)).all() == []
