"""Healing in rounds, as API processes, workers and `posegen recover` run it.

A worker's death may only be counted against its pictures by a witness that was in touch with the database all the
while; a Healer is one, from its first good round until a round fails or its process was asleep.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from posegen.announcing import Announcer
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.detections import can_detect, let_go_photos, waiting_detection
from posegen.errors import BellAway, DatabaseAway
from posegen.leases import queued_generations
from posegen.processes import is_gone
from posegen.recovery import prune, return_lapsed
from posegen.recovery_status import note_run
from posegen.upkeep import Upkeep
from posegen.workforce import live_workers, note_deaths

log = structlog.get_logger()

MOST_RINGS = 16
FIRST_PAUSE_S = 3.0
MOST_PAUSE_S = 12.0
"""Between two rings for the same waiting pictures: doubling, at most this. The last one may be lost with Redis, and
nothing tells that: a long order may wait unchanged for an hour, and must be rung for again within 15 s all the same."""
MOST_SLEEP = timedelta(seconds=10)
"""A longer pause between two rounds than asked for means that this process was not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did, and the database's time at its end. `photos`: keys of files that no row names any more."""

    requeued: int
    failed: int
    rung: int
    ended_at: datetime
    photos: tuple[str, ...] = ()


class Rings:
    """When to ring for what waits: at once for anything new, more and more rarely while ringing changes nothing.

    A ring may be heard by a worker that cannot help, and each leaves a trace in Redis for a day.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: list[str] = []
        self._pause_s = 0.0
        self._again_at_s = 0.0

    def are_due(self, waiting: list[str]) -> bool:
        """Tell whether to ring now."""
        if waiting != self._waiting:
            self._waiting = waiting
            self._pause_s = self._again_at_s = 0.0
        return self._clock() >= self._again_at_s

    def note(self) -> None:
        """Remember that it was rung."""
        self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, MOST_PAUSE_S)
        self._again_at_s = self._clock() + self._pause_s


class Healer:
    """Runs rounds for a process that lives on. Not thread-safe: one thread calls `heal`, every `every_s` seconds.

    With an `upkeep`, each round is followed by a slice of the day's chores.
    """

    def __init__(
        self,
        announcer: Announcer,
        *,
        every_s: float,
        upkeep: Upkeep | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._announcer = announcer
        self._upkeep = upkeep
        self._rings = Rings(clock)
        self._longest_pause = timedelta(seconds=every_s) + MOST_SLEEP
        self._witness_since: datetime | None = None
        self._last_round = datetime.now(UTC)
        self._away = False

    def heal(self) -> None:
        """Run a round. Never raises: what goes wrong is logged once and tried again by the next call."""
        if datetime.now(UTC) - self._last_round > self._longest_pause:
            self._witness_since = None
        try:
            done = reconcile_once(self._announcer, witness_since=self._witness_since, rings=self._rings)
        except DatabaseAway as error:
            if not self._away:
                log.warning("reconciler.database_away", cause=str(error.__cause__))
            self._witness_since, self._away = None, True
        except Exception:  # the outermost frame of a loop that must outlive every surprise
            log.exception("reconciler.broke")
            self._witness_since = None
        else:
            # The older of both: when the database's clock was set back, nobody has seen its future.
            self._witness_since = min(self._witness_since or done.ended_at, done.ended_at)
            if self._away:
                log.info("reconciler.database_back")
            self._away = False
            if done.requeued or done.failed or done.rung:
                log.info("reconciler.healed", requeued=done.requeued, failed=done.failed, rung=done.rung)
            if self._upkeep is not None:
                self._upkeep.discard(done.photos)
                self._upkeep.go_on()
        self._last_round = datetime.now(UTC)


def reconcile_once(announcer: Announcer, *, witness_since: datetime | None, rings: Rings | None = None) -> Round:
    """Return what lapsed or dead workers held to the queue, forget what is old, and ring for what waits unheard.

    It rings only for what a live worker draws, and while that changes nothing only as often as `rings` allows (if
    given).
    Raises DatabaseAway. Redis away is no error: nothing is rung.
    """
    requeued = failed = 0
    photos: list[str] = []
    while True:
        with announcer.writing(Act.COMMIT_HEALING) as session:
            now = database_now(session)
            note_deaths(session, is_gone=is_gone, now=now)
            recovered = return_lapsed(session, witness_since=witness_since, now=now)
        photos += let_go_photos(session)
        requeued += recovered.requeued
        failed += recovered.failed
        if not recovered.failed:
            break
    with announcer.writing(Act.COMMIT_UPKEEP) as session:
        prune(session, now=now)
        note_run(session, healed=bool(requeued or failed), now=now)
    photos += let_go_photos(session)
    with announcer.database.reading() as session:
        workers = live_workers(session, now=now)
        profiles = Counter(worker.profile for worker in workers)
        waiting = queued_generations(session, profiles=profiles, limit=MOST_RINGS)
        photo = waiting_detection(session) if any(can_detect(worker) for worker in workers) else None
        waiting += [photo] if photo is not None else []
    rung = 0
    if rings is None or rings.are_due(waiting):
        rung = _ring(announcer, waiting, profiles.total())
    if rings is not None and rung:
        rings.note()
    return Round(requeued=requeued, failed=failed, rung=rung, ended_at=now, photos=tuple(photos))


def _ring(announcer: Announcer, waiting: list[str], workers: int) -> int:
    """Ring once per worker that could be idle, but only when no ring is waiting to be heard already."""
    if not waiting:
        return 0
    times = min(workers, MOST_RINGS)
    try:
        if announcer.bell.waiting():
            return 0
        for number in range(times):
            announcer.bell.ring(waiting[number % len(waiting)])
    except BellAway:
        return 0
    return times
