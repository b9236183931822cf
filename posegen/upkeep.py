"""The rare chores: once a day, by whichever process of the house comes first, in slices that hold nobody up.

Forgetting what need not be kept (posegen.retention), then deleting files that no row names (posegen.sweeping). If the
process dies on the way, the rest is done the next day: no chore is urgent.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from time import monotonic

import structlog

from posegen.crash_points import Act
from posegen.database import Database, database_now
from posegen.errors import DatabaseAway, StorageAway
from posegen.retention import Pruned, prune_generations
from posegen.storage import Storage
from posegen.sweeping import Swept, sweep
from posegen.turns import is_taken, take_turn

log = structlog.get_logger()

LOOK_EVERY_S = 300.0
"""So often a process asks whether the day's turn is free, for the first time so long after its start."""
SLICE_S = 1.0
"""So long the chores may hold up a round of healing."""


class Upkeep:
    """The chores of one process. Not thread-safe: one thread calls `go_on`, every few seconds."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        *,
        keep: timedelta | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._storage = storage
        self._keep = keep
        self._clock = clock
        self._look_at_s = clock() + LOOK_EVERY_S
        self._work: Iterator[None] | None = None

    def go_on(self) -> None:
        """Take the day's turn if it is free, and do a slice of what is begun. Never raises: what fails is logged."""
        try:
            self._go_on()
        except (DatabaseAway, StorageAway) as error:
            log.warning("upkeep.put_off", reason=str(error))
            self._work = None
        except Exception:  # beside the healing's loop, which must outlive every surprise
            log.exception("upkeep.broke")
            self._work = None

    def discard(self, keys: Iterable[str]) -> None:
        """Delete files that no row names any more; those that cannot be deleted now are swept another day."""
        for key in keys:
            try:
                self._storage.delete(key)
            except StorageAway:
                log.warning("storage.leftover", key=key)

    def _go_on(self) -> None:
        if self._work is None and not self._is_our_turn():
            return
        if self._work is None:
            log.info("upkeep.begun")
            self._work = self._chores()
        until_s = self._clock() + SLICE_S
        while self._clock() < until_s:
            if next(self._work, self) is self:
                self._work = None
                return

    def _is_our_turn(self) -> bool:
        if self._clock() < self._look_at_s:
            return False
        self._look_at_s = self._clock() + LOOK_EVERY_S
        with self._database.reading() as session:
            if is_taken(session, now=database_now(session)):
                return False  # nearly always: no write, so no lock on SQLite
        with self._database.writing(Act.COMMIT_UPKEEP) as session:
            return take_turn(session, now=database_now(session))

    def _chores(self) -> Iterator[None]:
        pruned, swept = Pruned(), Swept()
        if self._keep is not None:
            yield from prune_generations(self._database, self._storage, pruned, keep=self._keep)
        yield from sweep(self._database, self._storage, swept)
        if swept.older:
            log.warning("upkeep.files_of_another_database", files=swept.older)
        log.info("upkeep.done", generations=pruned.generations, files=swept.files, deleted=swept.deleted)
