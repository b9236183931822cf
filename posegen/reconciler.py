"""Healing in rounds, as API processes, workers and `posegen recover` run it.

A worker's death may only be counted against its pictures by a witness that was in touch with the database all the
while; a Healer is one, from its first good round until a round fails or its process was asleep.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from posegen.announcing import Announcer
from posegen.database import database_now
from posegen.errors import BellAway, DatabaseAway
from posegen.leases import queued_generations
from posegen.recovery import prune, return_lapsed
from posegen.workforce import live_workers

log = structlog.get_logger()

MOST_RINGS = 16
MOST_SLEEP = timedelta(seconds=10)
"""A longer pause between two rounds than asked for means that this process was not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did, and the database's time at its end."""

    requeued: int
    failed: int
    rung: int
    ended_at: datetime


class Healer:
    """Runs rounds for a process that lives on. Not thread-safe: one thread calls `heal`, every `every_s` seconds."""

    def __init__(self, announcer: Announcer, *, every_s: float) -> None:
        self._announcer = announcer
        self._longest_pause = timedelta(seconds=every_s) + MOST_SLEEP
        self._witness_since: datetime | None = None
        self._last_round = datetime.now(UTC)
        self._away = False

    def heal(self) -> None:
        """Run a round. Never raises: what goes wrong is logged once and tried again by the next call."""
        if datetime.now(UTC) - self._last_round > self._longest_pause:
            self._witness_since = None
        try:
            done = reconcile_once(self._announcer, witness_since=self._witness_since)
        except DatabaseAway as error:
            if not self._away:
                log.warning("reconciler.database_away", cause=str(error.__cause__))
            self._witness_since, self._away = None, True
        except Exception:  # the outermost frame of a loop that must outlive every surprise
            log.exception("reconciler.broke")
            self._witness_since = None
        else:
            self._witness_since = self._witness_since or done.ended_at
            if self._away:
                log.info("reconciler.database_back")
            self._away = False
            if done.requeued or done.failed or done.rung:
                log.info("reconciler.healed", requeued=done.requeued, failed=done.failed, rung=done.rung)
        self._last_round = datetime.now(UTC)


def reconcile_once(announcer: Announcer, *, witness_since: datetime | None) -> Round:
    """Return lapsed pictures to the queue, forget what is old, and ring when work waits that nobody was told of.

    Raises DatabaseAway. Redis away is no error: nothing is rung.
    """
    requeued = failed = 0
    while True:
        with announcer.writing() as session:
            now = database_now(session)
            recovered = return_lapsed(session, witness_since=witness_since, now=now)
        requeued += recovered.requeued
        failed += recovered.failed
        if not recovered.failed:
            break
    with announcer.writing() as session:
        prune(session, now=now)
    with announcer.database.reading() as session:
        waiting = queued_generations(session, limit=MOST_RINGS)
        workers = len(live_workers(session, now=now))
    return Round(requeued=requeued, failed=failed, rung=_ring(announcer, waiting, workers), ended_at=now)


def _ring(announcer: Announcer, waiting: list[str], workers: int) -> int:
    """Ring once per worker that could be idle, but only when no ring is waiting to be heard already."""
    if not waiting:
        return 0
    try:
        if announcer.bell.waiting():
            return 0
        for number in range(max(1, min(workers, MOST_RINGS))):
            announcer.bell.ring(waiting[number % len(waiting)])
    except BellAway:
        return 0
    return max(1, min(workers, MOST_RINGS))
