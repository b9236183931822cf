"""Deleting files that no row names, once they are a day old, and finding rows whose file is missing.

A file is always stored before the row that names it, so an unnamed one is either about to be named or was left by a
process that died in between. A day is far longer than any of ours takes from the one to the other; nothing but time
tells the two apart, and the time that counts is the store's own.

A file that is older than the database was left by none of its processes. It stays: whoever starts one with another
database by mistake, or with an empty one, must not lose a store full of pictures by it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Text, cast, func, or_, select
from sqlalchemy.orm import Session

from posegen.database import Database, database_now
from posegen.storage import ListedFile, Storage
from posegen.tables import Avatar, GeneratedPicture, LibraryPose, StoredObject, User, WorkItem
from posegen.turns import is_turn

log = structlog.get_logger()

UNNAMED_KEPT = timedelta(days=1)
"""So old must a file be that no row names, before it is deleted."""
KEY_COLUMNS = (
    StoredObject.key,  # first: nearly every file is found here, by its primary key
    Avatar.image_key,
    Avatar.thumbnail_key,
    LibraryPose.preview_key,
    LibraryPose.thumbnail_key,
    LibraryPose.control_key,
    LibraryPose.reference_key,
    GeneratedPicture.output_key,
    GeneratedPicture.thumbnail_key,
    GeneratedPicture.original_key,
)
"""Every column that holds a key; a test finds one that is forgotten here."""
JSON_COLUMNS = (GeneratedPicture.export_keys, WorkItem.extras)
"""Every column with keys somewhere in its JSON."""
_KEYS_PER_LOOK = 20
_ROWS_PER_PAGE = 500


@dataclass(slots=True)
class Swept:
    """What a sweep has found so far.

    older: files that no row names and that stay, for they are older than the database's first user; unfinished: those
    that a killed process was still writing.
    """

    files: int = 0
    older: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    unfinished: int = 0


def sweep(database: Database, storage: Storage, swept: Swept, *, dry_run: bool = False) -> Iterator[None]:
    """Delete day-old files that no row names, or only count them; yields after each short piece of work.

    Safe beside everything else and beside another sweep. Raises DatabaseAway and StorageAway.
    """
    with database.reading() as session:
        before = database_now(session) - UNNAMED_KEPT
        began = session.execute(select(func.min(User.created_at))).scalar_one_or_none()
    for page in storage.pages():
        swept.files += len(page)
        old = {file.key: file for file in page if file.modified_at < before}
        with database.reading() as session:
            unnamed = unnamed_keys(session, old)
        yield
        for key in sorted(unnamed):
            if began is None or old[key].modified_at < began:
                swept.older += 1
            elif dry_run or _delete_if_old(storage, key, before):
                _count(swept, old[key], dry_run=dry_run)
            yield
    if not dry_run:
        for deleted in storage.delete_unfinished(before=before):
            swept.unfinished += deleted
            yield


def unnamed_keys(session: Session, keys: Collection[str]) -> set[str]:
    """Return those of the keys that no row names. Writes nothing."""
    left = set(keys)
    for column in KEY_COLUMNS:
        if left:
            left -= set(session.scalars(select(column).where(column.in_(sorted(left)))))
    for json_column in JSON_COLUMNS:
        words = cast(json_column, Text)
        some = sorted(left)
        for begin in range(0, len(some), _KEYS_PER_LOOK):
            quoted = {key: f'"{key}"' for key in some[begin : begin + _KEYS_PER_LOOK]}
            naming = select(words).where(or_(*(words.contains(word, autoescape=True) for word in quoted.values())))
            for text in session.scalars(naming):
                left -= {key for key, word in quoted.items() if word in text}
    return left


def missing_files(database: Database, storage: Storage) -> Iterator[str]:
    """Yield the keys that rows name but the store does not hold. Raises DatabaseAway and StorageAway.

    A row that is deleted meanwhile is not reported: who forgets a file deletes its row first.
    """
    for column in KEY_COLUMNS:
        last = ""
        while True:
            page = select(column).where(column > last).order_by(column).limit(_ROWS_PER_PAGE)
            if column is not StoredObject.key:  # what is registered was looked at already
                page = page.where(~select(StoredObject.key).where(StoredObject.key == column).exists())
            with database.reading() as session:
                keys = [key for key in session.scalars(page) if key is not None]
            if not keys:
                break
            last = keys[-1]
            gone = [key for key in keys if not is_turn(key) and not storage.holds(key)]
            if gone:
                with database.reading() as session:
                    yield from sorted(set(gone) - unnamed_keys(session, gone))


def _delete_if_old(storage: Storage, key: str, before: datetime) -> bool:
    """Delete a file unless it was stored anew since it was listed (the library's keys come back with their poses)."""
    file = storage.listed(key)
    if file is None or file.modified_at >= before:
        return False
    storage.delete(key)
    return True


def _count(swept: Swept, file: ListedFile, *, dry_run: bool) -> None:
    swept.deleted += 1
    swept.deleted_bytes += file.size_bytes
    if not dry_run:
        log.info("sweep.deleted", key=file.key, size_bytes=file.size_bytes)
