"""The points at which a process may be killed to prove that it does not matter: before and after everything that lasts.

What lasts is a commit, a call to Redis, a file. Each is an Act, crossed by the code that does it, and CRASH_AT arms one
side of one of them (`before:commit.claim`, `after:redis.ring:3` for the third time): there the process sends itself
SIGKILL. Only tests and scripts/chaos.py set it. Unarmed, a point is one comparison.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

log = structlog.get_logger()

TRACE = "trace"
"""CRASH_AT=trace kills nobody and logs each point the first time it is reached."""


class Act(StrEnum):
    """Everything that lasts, by who does it."""

    COMMIT_REQUEST = "commit.request"  # a customer's request other than the next two
    COMMIT_ORDER = "commit.order"  # the charge, the generation and its work, in one
    COMMIT_CANCEL = "commit.cancel"  # the pictures that stop, and their refunds
    COMMIT_CLAIM = "commit.claim"  # a worker takes pictures, or a photo to look at
    COMMIT_STARTED = "commit.started"  # the first picture of a generation is being drawn
    COMMIT_DELIVERY = "commit.delivery"  # a picture is the customer's, or a photo's key-points are
    COMMIT_FAILURE = "commit.failure"  # a picture failed and is refunded
    COMMIT_RETURN = "commit.return"  # a worker gives back what it has not done
    COMMIT_RENEWAL = "commit.renewal"  # leases are prolonged, or a suspect picture is acquitted
    COMMIT_REPORT = "commit.report"  # a worker's heartbeat
    COMMIT_HEALING = "commit.healing"  # lapsed pictures are queued again, or given up
    COMMIT_UPKEEP = "commit.upkeep"  # what is old is forgotten
    REDIS_RING = "redis.ring"  # a ring is queued
    REDIS_JOB = "redis.job"  # a ring is answered; RQ's own bookkeeping follows
    REDIS_PUBLISH = "redis.publish"  # an event is hurried
    REDIS_SUBSCRIBE = "redis.subscribe"  # the API begins to listen
    REDIS_READ = "redis.read"  # the queue's length and counts
    REDIS_PING = "redis.ping"  # health
    REDIS_RATES = "redis.rates"  # a request is counted
    FILE_PUT = "file.put"  # bytes are written and renamed
    FILE_FLUSH = "file.flush"  # the file and its names are on the disk
    FILE_DELETE = "file.delete"  # a file of a lost claim goes


class Moment(StrEnum):
    """Which side of an act."""

    BEFORE = "before"
    AFTER = "after"


POINTS = tuple(f"{moment}:{act}" for act in Act for moment in Moment)
"""Every crash point, by the name that CRASH_AT takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Where to die: a point, and the how many-th time it is reached. `TRACE` as the point only logs."""

    point: str
    nth: int = 1


@dataclass(slots=True)
class _Armed:
    wish: Wish
    lock: threading.Lock = field(default_factory=threading.Lock)
    reached: Counter[str] = field(default_factory=Counter)


_armed: _Armed | None = None


def wish_of(text: str) -> Wish | None:
    """Read CRASH_AT; None when it is empty. Raises ValueError for a point that does not exist."""
    if not text:
        return None
    point, colon, last = text.rpartition(":")
    if not (colon and last.isdigit()):
        point, last = text, "1"
    if point != TRACE and point not in POINTS:
        raise ValueError(f"there is no crash point {point!r}; it is before: or after: one of {', '.join(Act)}")
    return Wish(point=point, nth=max(1, int(last)))


def arm(wish: Wish | None) -> None:
    """Arm this process from now on; None disarms it."""
    global _armed
    _armed = None if wish is None else _Armed(wish)


def reached(moment: Moment, act: Act) -> None:
    """Die here if this is the point that was wished for."""
    if _armed is not None:
        _note(_armed, f"{moment}:{act}")


@contextmanager
def around(act: Act) -> Iterator[None]:
    """Cross an act: the block is what lasts. Left by an exception, its far side is not reached."""
    reached(Moment.BEFORE, act)
    yield
    reached(Moment.AFTER, act)


def _note(armed: _Armed, point: str) -> None:
    with armed.lock:
        armed.reached[point] += 1
        count = armed.reached[point]
    if armed.wish.point == TRACE and count == 1:
        log.info("crash_point.reached", point=point)
    elif armed.wish.point == point and count == armed.wish.nth:
        log.warning("crash_point.dies", point=point)
        os.kill(os.getpid(), signal.SIGKILL)
