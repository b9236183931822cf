"""What a run of scripts/chaos.py is asked to do: which faults, how many, in which order, against which service.

The list of faults is drawn from a seed, so that a run that broke something can be run again. Timing is not: processes,
locks and disks decide which line a kill hits, which is the point of it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Fault(StrEnum):
    """Everything that is done to the service."""

    WORKER_KILL = "worker-kill"  # SIGKILL of a worker that holds pictures; it is started again
    API_KILL = "api-kill"  # SIGKILL of the API; it is started again
    WORKER_STOP = "worker-stop"  # SIGSTOP of a worker that holds pictures, SIGCONT after its lease: a ghost
    API_STOP = "api-stop"  # SIGSTOP and SIGCONT of the API
    WORKER_TERM = "worker-term"  # SIGTERM of a worker: it drains, and is started again
    REDIS_KILL = "redis-kill"  # SIGKILL of Redis, started again from its append-only file
    REDIS_FLUSH = "redis-flush"  # FLUSHALL: every ring and registry is gone
    DATABASE_KILL = "database-kill"  # immediate stop of PostgreSQL, started again: it recovers from its log
    STORAGE_AWAY = "storage-away"  # the folder of pictures is swapped for a file: every read and write fails
    RING_AGAIN = "ring-again"  # every open generation is rung for five times more
    LEASE_TAKEN = "lease-taken"  # what a worker holds is queued again under its hands: it delivers too late
    POISON = "poison"  # a queued picture's key-points become unreadable: it must fail and be refunded


PER_TEN_KILLS: Mapping[Fault, float] = {
    Fault.API_KILL: 2,
    Fault.WORKER_STOP: 1,
    Fault.API_STOP: 0.5,
    Fault.WORKER_TERM: 1,
    Fault.REDIS_KILL: 1,
    Fault.REDIS_FLUSH: 1,
    Fault.DATABASE_KILL: 1,
    Fault.STORAGE_AWAY: 1,
    Fault.RING_AGAIN: 1,
    Fault.LEASE_TAKEN: 1,
    Fault.POISON: 1,
}
"""How many of each come with ten SIGKILLs of workers, at least one of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. Seconds unless a name says otherwise."""

    db: str = "sqlite"
    engine: str = "fake"
    step_s: float = 0.02
    faults: Mapping[Fault, int] = field(default_factory=dict)
    crash_points: int = 0
    """So often each crash point is crossed by a process that dies there; 0: not at all."""
    acts: str = ""
    """Only crash points of these acts, parted by commas; empty: all."""
    trace: bool = False
    every_s: float = 4.0
    pause_s: float = 30.0
    away_s: float = 3.0
    """Redis, PostgreSQL and the pictures' folder stay away for up to so long."""
    workers: int = 3
    customers: int = 6
    think_s: float = 2.0
    orders: int = 0
    queued: int = 12
    """So many pictures wait at each fault. In an idle service most kills would hit pictures that are drawn alone, for
    they were hit before, and three such deaths end a picture, as they should."""
    lease_s: int = 20
    rest_s: float = 300.0
    seed: int = 1
    folder: Path | None = None
    keep: bool = False
    quiet: bool = False

    def schedule(self) -> list[Fault]:
        """Return the faults in their order."""
        listed = [fault for fault in Fault for _ in range(self.faults.get(fault, 0))]
        random.Random(self.seed).shuffle(listed)
        return listed

    @property
    def most_s(self) -> float:
        """How long the run takes at most, rest included: what --help promises and what an outer timeout may use."""
        faults_s = sum(self.faults.values()) * 1.5 * self.every_s
        faults_s += self.faults.get(Fault.WORKER_STOP, 0) * 1.0 + self.pause_s * bool(self.faults)
        faults_s += (self.faults.get(Fault.REDIS_KILL, 0) + self.faults.get(Fault.DATABASE_KILL, 0)) * self.away_s
        return 60.0 + faults_s + self.crash_points * MOST_POINTS * CRASH_USUALLY_S + self.rest_s


MOST_POINTS = 60
CRASH_USUALLY_S = 12.0
CRASH_WITHIN_S = 90.0
"""A crash point that is not reached within this is reported as missed."""


def mixed(kills: int, db: str) -> dict[Fault, int]:
    """Return the usual mix around so many SIGKILLs of workers."""
    faults = {Fault.WORKER_KILL: kills}
    for fault, share in PER_TEN_KILLS.items():
        if fault is not Fault.DATABASE_KILL or db == "postgres":
            faults[fault] = max(1, round(kills * share / 10)) if kills else 0
    return faults


def named(text: str, default: int) -> dict[Fault, int]:
    """Read `redis-kill=50,redis-flush=5`; a name alone means `default` of it. Raises ValueError."""
    faults: dict[Fault, int] = {}
    for part in text.split(","):
        name, _, count = part.strip().partition("=")
        faults[Fault(name)] = int(count or default)
    return faults
