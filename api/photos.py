"""Taking an uploaded photo at the door: the rate, the check, the store, and only then the row that names it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from fastapi import UploadFile

from api.access import Caller
from api.service import Service
from posegen.avatars import StoredPhoto, store_photo
from posegen.errors import PosegenError, StorageAway, Unavailable
from posegen.uploads import MOST_BYTES, Photo, check_photo

log = structlog.get_logger()


def checked_photo(service: Service, caller: Caller, upload: UploadFile) -> Photo:
    """Count an upload and check its photo. Raises what check_photo raises, TooManyRequests and TooBusy."""
    service.rates.count_upload(caller.id)
    with service.photo_line.turn():
        return check_photo(upload.file.read(MOST_BYTES + 1), file_name=upload.filename)


@contextmanager
def stored_photo(service: Service, caller: Caller, upload: UploadFile) -> Iterator[StoredPhoto]:
    """Check and store a photo; the block names it in SQL. When the block refuses, the files go again.

    Raises what check_photo raises, StorageAway, TooManyRequests and TooBusy.
    """
    stored = store_photo(service.storage, caller.id, checked_photo(service, caller, upload))
    with discarded_if_refused(service, (stored.image_key, stored.thumbnail_key)):
        yield stored


@contextmanager
def discarded_if_refused(service: Service, keys: Sequence[str]) -> Iterator[None]:
    """Run a block that names stored files in SQL; delete them when it refuses."""
    try:
        yield
    except Unavailable:
        raise  # whether SQL kept the row is not known, so its files stay
    except PosegenError:
        discard(service, keys)
        raise


def discard(service: Service, keys: Iterable[str]) -> None:
    """Delete files that nothing names any more, after the commit that says so."""
    for key in keys:
        try:
            service.storage.delete(key)
        except StorageAway:
            log.warning("storage.leftover", key=key)
