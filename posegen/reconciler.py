"""One round of healing, as the API's loop, a starting worker and `posegen recover` run it."""

from dataclasses import dataclass
from datetime import datetime

from posegen.announcing import Announcer
from posegen.database import database_now
from posegen.errors import BellAway
from posegen.leases import queued_generations
from posegen.recovery import prune, return_lapsed
from posegen.workforce import live_workers

MOST_RINGS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did, and the database's time at its end."""

    requeued: int
    failed: int
    rung: int
    ended_at: datetime


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
