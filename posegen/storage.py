"""The picture store: bytes under keys, through obstore. Content types live in SQL, links are signed and expire.

A bucket would sign its own links; for the local disk the key and its expiry are signed with itsdangerous and served by
the API. Expiry is rounded up to the hour, so that one picture keeps one link (and one cache entry) for a while.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import time

from itsdangerous import BadSignature, URLSafeSerializer
from obstore.exceptions import BaseError
from obstore.store import LocalStore
from sqlalchemy.orm import Session

from posegen.crash_points import Act, around
from posegen.errors import NotFound, StorageAway
from posegen.tables import StoredObject

FILES_PATH = "/api/apps/pose-generator/files"
_ROUND_S = 3600
_PAGE = 500
_WRITES = 5
"""So often a file is tried to be written while the store's own folder is there."""
_UNFINISHED = re.compile(r".+#\d+")
"""What obstore calls a file that is being written to the disk; a process killed then leaves it behind."""
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file as the store lists it; the time is the store's own."""

    key: str
    size_bytes: int
    modified_at: datetime


class Storage:
    """The local store. Writes are atomic, and on the disk when `put` returns: SQL may name them from then on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.absolute()
        self._store = LocalStore(str(self._folder), automatic_cleanup=True)  # a last file's folder goes with it

    def put(self, key: str, content: bytes) -> None:
        """Write a file. Raises StorageAway, ValueError for a key that is no plain path."""
        _check_key(key)
        try:
            with around(Act.FILE_PUT):
                self._write(key, content)
            with around(Act.FILE_FLUSH):
                self._flush_path(key)
        except (BaseError, OSError) as error:
            raise StorageAway(key) from error

    def _write(self, key: str, content: bytes) -> None:
        """Write a file, again when its folder could not be made: one may go with another's last file just then."""
        for tries_left in reversed(range(_WRITES)):
            try:
                self._store.put(key, content)
            except BaseError:
                if not tries_left or not self._folder.is_dir():
                    raise
            else:
                return

    def _flush_path(self, key: str) -> None:
        """Wait until the file and every name on the way to it are on the disk; obstore renames but does not sync.

        All folders, each time: one that is already there may have been made a moment ago by a process that has not
        synced it yet. Syncing one that did not change costs a millisecond or two.
        """
        path = self._folder / key
        while path != self._folder:
            _flush(path)
            path = path.parent
        _flush(path)

    def get(self, key: str) -> bytes:
        """Read a file. Raises NotFound or StorageAway."""
        _check_key(key)
        try:
            return bytes(self._store.get(key).bytes())
        except FileNotFoundError as error:
            raise NotFound("file", [key]) from error
        except (BaseError, OSError) as error:
            raise StorageAway(key) from error

    def holds(self, key: str) -> bool:
        """Tell whether there is such a file. Raises StorageAway."""
        return self.listed(key) is not None

    def listed(self, key: str) -> ListedFile | None:
        """Return what the store knows of a file now; None when there is none. Raises StorageAway."""
        _check_key(key)
        try:
            found = self._store.head(key)
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise StorageAway(key) from error
        return ListedFile(key=key, size_bytes=found["size"], modified_at=found["last_modified"])

    def pages(self) -> Iterator[list[ListedFile]]:
        """Yield everything that is stored, page by page and in no order. Raises StorageAway.

        Files that come or go meanwhile may be listed or not.
        """
        try:
            for page in self._store.list(chunk_size=_PAGE):
                yield [
                    ListedFile(key=found["path"], size_bytes=found["size"], modified_at=found["last_modified"])
                    for found in page
                ]
        except (BaseError, OSError) as error:
            raise StorageAway("its list of files") from error

    def delete_unfinished(self, *, before: datetime) -> Iterator[int]:
        """Delete what killed processes left half written before that time; yield each folder's count.

        Raises StorageAway.
        """
        for folder, _folders, names in os.walk(self._folder):
            deleted = 0
            for path in (Path(folder, name) for name in names if _UNFINISHED.fullmatch(name)):
                try:
                    if path.stat().st_mtime < before.timestamp():
                        path.unlink()
                        deleted += 1
                except FileNotFoundError:
                    continue  # its writer has finished it
                except OSError as error:
                    raise StorageAway(path.name) from error
            yield deleted

    def delete(self, key: str) -> None:
        """Delete a file; one that is gone already is no error. Raises StorageAway."""
        _check_key(key)
        try:
            with around(Act.FILE_DELETE):
                self._store.delete(key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StorageAway(key) from error


class Links:
    """Signs and reads links to stored files. `base_url` is empty for root-relative links."""

    def __init__(self, secret: str, *, life_s: int, base_url: str = "") -> None:
        self._signer = URLSafeSerializer(secret, salt="posegen.files")
        self._life_s = life_s
        self._base_url = base_url

    def url(self, key: str) -> str:
        """Return a link to the file that works for at least the configured time."""
        expires = (int(time()) + self._life_s) // _ROUND_S * _ROUND_S + _ROUND_S
        return f"{self._base_url}{FILES_PATH}/{self._signer.dumps([key, expires])}/{key.rsplit('/', 1)[-1]}"

    def read(self, token: str) -> tuple[str, timedelta]:
        """Return the key a token stands for and how long it is still good. Raises NotFound for a bad or old one."""
        try:
            key, expires = self._signer.loads(token)
        except (BadSignature, ValueError) as error:
            raise NotFound("file", ["with this link"]) from error
        left = timedelta(seconds=expires - time())
        if left <= timedelta(0):
            raise NotFound("file", ["with this link (it has expired)"])
        return key, left


def stored_object(session: Session, key: str) -> StoredObject:
    """Return what SQL knows of a stored file. Raises NotFound."""
    row = session.get(StoredObject, key)
    if row is None:
        raise NotFound("file", [key])
    return row


def _flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key) or ".." in key:
        raise ValueError(f"{key!r} is not a storage key")
