"""The picture store: a file goes in, comes back, is signed for and deleted; and it is the one that others use."""

import os
from collections.abc import Iterator

from sqlalchemy import make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from posegen.database import Database
from posegen.doctor.database import sqlite_file
from posegen.doctor.findings import Finding, Told
from posegen.doctor.machine import existing
from posegen.doctor.subject import Subject
from posegen.errors import DatabaseAway, NotFound, StorageAway
from posegen.identifiers import new_id
from posegen.storage import Links, Storage
from posegen.tables import GeneratedPicture, LibraryPose

_CONTENT = b"posegen doctor\n"
_LOOKED_AT = 20
"""So many of the newest pictures, and of the library's previews, are looked for."""


def check_storage(subject: Subject, told: Told) -> Iterator[Finding]:
    """Write, read, sign for and delete a small file."""
    folder = subject.settings.storage_dir.absolute()
    there = existing(folder)
    owner = f"See who owns {there}: the API and every worker write there."
    if there != folder:  # nothing is made: whoever starts first makes it
        if os.access(there, os.W_OK | os.X_OK):
            yield told.ok(f"{folder} is not there yet and can be made")
        else:
            yield told.fail(f"{folder} is not there and cannot be made", owner)
        yield from _is_the_shared_one(subject, None, told)
        return
    key = f"doctor/{new_id()}.txt"
    try:
        storage = Storage(folder)
        storage.put(key, _CONTENT)
        try:
            content = storage.get(key)
        finally:
            storage.delete(key)
    except (StorageAway, NotFound, OSError) as error:
        cause = error.__cause__ or error
        yield told.fail(f"{folder} cannot be written and read: {(str(cause).splitlines() or [''])[0]}", owner)
        return
    if content != _CONTENT:
        yield told.fail(f"{folder} gives back other bytes than were written", "Check that disk before anything else.")
        return
    links = Links(subject.settings.jwt_secret.get_secret_value(), life_s=subject.settings.url_life_s)
    read, _left = links.read(links.url(key).split("/")[-2])
    if read != key:
        yield told.fail("a signed link names another file than it was made for", "Please report this.")
        return
    yield told.ok(f"{folder}: a file was written, read, signed for and deleted")
    yield from _is_the_shared_one(subject, Storage(folder), told)


def _is_the_shared_one(subject: Subject, storage: Storage | None, told: Told) -> Iterator[Finding]:
    """Look for the newest files that the database names: another box's are missing when VAR_DIR is not shared."""
    keys = _newest_keys(subject)
    missing = [key for key in keys if storage is None or not storage.holds(key)]
    if missing:
        yield told.fail(
            f"{len(missing)} of {len(keys)} files that the database names are not in {subject.settings.storage_dir}",
            "Every box needs the same VAR_DIR/storage (NFS or the like); else restore it. `posegen sweep` names all.",
        )
    elif keys:
        yield told.ok(f"{len(keys)} files that the database names are here, the newest pictures among them")


def _newest_keys(subject: Subject) -> list[str]:
    """Return some keys; none where the database does not answer or has no tables, which its own check says."""
    url = subject.settings.sql_url
    try:
        parts = make_url(url)
        if parts.get_backend_name() == "sqlite" and not sqlite_file(parts).exists():
            return []  # nothing is made here
        database = Database(url, pool_size=1)
    except (ArgumentError, ValueError):
        return []
    pictures = select(GeneratedPicture.output_key).order_by(GeneratedPicture.id.desc()).limit(_LOOKED_AT)
    poses = select(LibraryPose.preview_key).order_by(LibraryPose.id).limit(_LOOKED_AT)
    try:
        with database.reading() as session:
            return [key for query in (pictures, poses) for key in session.scalars(query) if key is not None]
    except (DatabaseAway, SQLAlchemyError):
        return []
    finally:
        database.close()
