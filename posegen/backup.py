"""A backup of the service: one folder with the database, every picture, and a manifest that says what it is.

The database is dumped first and the pictures are copied after it: a file is written before a row names it, so every
file that the dump names is there to be copied, and what came later is only spare. Not in it: secrets (JWT_SECRET),
weights, and Redis, which holds nothing that SQL does not.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from posegen import migrating
from posegen.database import Database
from posegen.dumps import NotWiped, dump, dump_name, load
from posegen.errors import BadInput, NotFound
from posegen.storage import Storage

MANIFEST, PICTURES = "manifest.json", "pictures"


class BackupUnfit(BadInput):
    """A folder that is no whole backup, or one that cannot be laid here."""

    code = "backup_unfit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is. tables: the version of the database's tables; files, bytes: of pictures, None when left out."""

    made_at: str
    posegen: str
    dialect: str
    tables: str
    database_sha256: str
    files: int | None
    bytes: int | None


def make_backup(database: Database, storage: Storage | None, folder: Path) -> Iterator[str]:
    """Write a backup into a folder that is not there yet; yield a sentence for each thing that is done.

    storage None: without pictures. Until the end it is called `folder.partial`: what has the right name is whole.
    Raises NotWiped, DumpFailed, StorageAway, DatabaseAway.
    """
    draft = folder.with_name(f"{folder.name}.partial")
    if folder.exists():
        raise NotWiped(str(folder))
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    tables = migrating.current_version(database)
    if tables is None:
        raise BackupUnfit("The database has no tables of ours: there is nothing to keep.")
    made_at = datetime.now(UTC)
    file = draft / dump_name(database.dialect)
    dump(database, file)
    yield f"the database, {file.stat().st_size / 1e6:.1f} MB"
    counted: tuple[int, int] | None = None
    if storage is not None:
        counted = _copy(storage, Storage(draft / PICTURES))
        yield f"{counted[0]} files, {counted[1] / 1e6:.1f} MB"
    manifest = Manifest(
        made_at=made_at.isoformat(timespec="seconds"),
        posegen=version("posegen"),
        dialect=database.dialect,
        tables=tables,
        database_sha256=_sha256(file),
        files=None if counted is None else counted[0],
        bytes=None if counted is None else counted[1],
    )
    (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    _flush_folder(draft)
    draft.rename(folder)
    _flush_folder(folder.parent)


def restore_backup(folder: Path, database: Database, storage: Storage) -> Iterator[str]:
    """Lay a backup into an empty database and an empty store, and migrate it; yield a sentence for each thing done.

    Raises BackupUnfit and NotWiped before anything is changed; DumpFailed, StorageAway, DatabaseAway.
    """
    manifest = read_manifest(folder)
    file = folder / dump_name(manifest.dialect)
    if manifest.dialect != database.dialect:
        raise BackupUnfit(f"This is a backup of {manifest.dialect}, and DATABASE_URL is one of {database.dialect}.")
    if not migrating.is_known(manifest.tables):
        raise BackupUnfit(
            f"Its tables are of version {manifest.tables}, which this code does not know: use Posegen "
            f"{manifest.posegen} or newer."
        )
    if not file.is_file() or _sha256(file) != manifest.database_sha256:
        raise BackupUnfit(f"{file} is missing, or is not what was written: take another backup.")
    if manifest.files is not None and any(page for page in storage.pages()):
        raise NotWiped("The picture store under VAR_DIR/storage")
    load(database, file)
    yield f"the database of {manifest.made_at}"
    migrating.migrate(database)
    if manifest.files is not None:
        files, size_bytes = _copy(Storage(folder / PICTURES), storage)
        yield f"{files} files, {size_bytes / 1e6:.1f} MB"


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself. Raises BackupUnfit."""
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError as error:
        raise BackupUnfit(f"{folder} is no whole backup: there is no {MANIFEST} in it.") from error
    except (OSError, ValueError, TypeError) as error:
        raise BackupUnfit(f"{folder / MANIFEST} cannot be read.") from error


def _copy(source: Storage, target: Storage) -> tuple[int, int]:
    """Copy every file of ours; return how many, and their bytes."""
    files = size_bytes = 0
    for page in source.pages():
        for file in page:
            try:
                content = source.get(file.key)
            except (NotFound, ValueError):  # deleted meanwhile; or a stranger's file, whose name is no key of ours
                continue
            target.put(file.key, content)
            files += 1
            size_bytes += len(content)
    return files, size_bytes


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
