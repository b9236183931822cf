"""How each fault is done, and undone: real signals, a real flush, a folder that really cannot be used.

A fault that lasts (a stopped process, a server that is away) is ended by `end_due`, so several may overlap as they do
in real trouble. Everything is noted with its time; nothing is decided here about who lost what.
"""

import ctypes
import heapq
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis
from chaos_ground import Ground, Process
from chaos_plan import Fault
from sqlalchemy import select, update

from posegen.bell import Bell
from posegen.errors import BellAway, PosegenError
from posegen.statuses import GenerationStatus, ItemStatus
from posegen.tables import Generation, WorkItem

RINGS_AGAIN = 5
FIND_HOLDER_S = 5.0
"""So long a fault for a worker that holds pictures waits for one; then any worker will do."""
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)
_UNREADABLE = {"people": [{"pose_keypoints_2d": "unreadable"}]}


class Faults:
    """Inflicts faults on a ground. Belongs to the main thread."""

    def __init__(self, ground: Ground) -> None:
        self.done: Counter[str] = Counter()
        self._ground = ground
        self._plan = ground.plan
        self._notes = ground.notes
        self._random = random.Random(ground.plan.seed + 1)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._do: dict[Fault, Callable[[], bool]] = {
            Fault.WORKER_KILL: self._kill_worker,
            Fault.API_KILL: self._kill_api,
            Fault.WORKER_STOP: self._stop_worker,
            Fault.API_STOP: self._stop_api,
            Fault.WORKER_TERM: self._term_worker,
            Fault.REDIS_KILL: self._kill_redis,
            Fault.REDIS_FLUSH: self._flush_redis,
            Fault.DATABASE_KILL: self._kill_database,
            Fault.STORAGE_AWAY: self._take_storage,
            Fault.RING_AGAIN: self._ring_again,
            Fault.LEASE_TAKEN: self._take_lease,
            Fault.POISON: self._poison,
        }

    def inflict(self, fault: Fault) -> bool:
        """Do it; False when it cannot be done now (everybody is down already): try again in a moment."""
        try:
            done = self._do[fault]()
        except (PosegenError, redis.RedisError) as error:  # another fault is in the way
            self._notes.add("fault_postponed", fault=fault, error=repr(error))
            done = False
        self.done[fault] += done
        return done

    @property
    def pending(self) -> bool:
        """Tell whether a fault still lasts."""
        return bool(self._due)

    def end_due(self) -> None:
        """End the faults whose time is over."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def _later(self, after_s: float, end: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, (time.monotonic() + after_s, self._number, end))

    def _away_s(self) -> float:
        return self._random.uniform(0.2, 1.0) * self._plan.away_s

    def _kill_worker(self) -> bool:
        worker = self._holder()
        if worker is None:
            return False
        worker.expected = True
        self._notes.add("worker_killed", pid=worker.pid, name=worker.name, held=self.held_by(worker))
        worker.send(signal.SIGKILL)
        return True

    def _kill_api(self) -> bool:
        api = self._ground.api
        if not api.running or api.stopped or not self._ground.answers():
            return False
        api.expected = True
        self._notes.add("api_killed", pid=api.pid)
        api.send(signal.SIGKILL)
        return True

    def _stop_worker(self) -> bool:
        awake = [worker for worker in self._ground.workers if worker.running and not worker.stopped]
        if len(awake) < 2:
            return False
        worker = self._holder()
        if worker is None:
            return False
        worker.stopped = True
        pid = worker.pid
        worker.send(signal.SIGSTOP)
        self._notes.add("worker_stopped", pid=pid, name=worker.name, held=self.held_by(worker))
        self._later(self._plan.pause_s, lambda: self._go_on(worker, pid, "worker_went_on"))
        return True

    def _stop_api(self) -> bool:
        api = self._ground.api
        if not api.running or api.stopped:
            return False
        api.stopped = True
        pid = api.pid
        api.send(signal.SIGSTOP)
        self._notes.add("api_stopped", pid=pid)
        self._later(min(self._plan.pause_s, 10.0), lambda: self._go_on(api, pid, "api_went_on"))
        return True

    def _go_on(self, process: Process, pid: int, what: str) -> None:
        if process.running and process.pid == pid:
            process.send(signal.SIGCONT)
            process.stopped = False
            self._notes.add(what, pid=pid)

    def _term_worker(self) -> bool:
        worker = self._holder()
        if worker is None:
            return False
        worker.expected = True
        self._notes.add("worker_asked_to_leave", pid=worker.pid, name=worker.name)
        worker.send(signal.SIGTERM)
        return True

    def _kill_redis(self) -> bool:
        if self._ground.redis.process_id is None:
            return False
        queued = self.count(ItemStatus.QUEUED)
        note = self._notes.add("redis_lost", how=Fault.REDIS_KILL, queued=queued)
        self._ground.redis.kill()

        def start() -> None:
            self._ground.redis.start()
            self._notes.add("redis_back", lost_at=note["at"], queued=queued)

        self._later(self._away_s(), start)
        return True

    def _flush_redis(self) -> bool:
        if self._ground.redis.process_id is None:
            return False
        queued = self.count(ItemStatus.QUEUED)
        with redis.Redis.from_url(self._ground.redis.url, socket_timeout=5) as client:
            client.flushall()
        now = time.time()
        self._notes.add("redis_lost", how=Fault.REDIS_FLUSH, queued=queued)
        self._notes.add("redis_back", lost_at=now, queued=queued)
        return True

    def _kill_database(self) -> bool:
        server = self._ground.postgres
        if server is None or not server.running:
            return False
        self._notes.add("database_killed")
        server.kill()

        def start() -> None:
            server.start()
            self._notes.add("database_back")

        self._later(self._away_s(), start)
        return True

    def _take_storage(self) -> bool:
        """Swap the folder of pictures for a file, in one step: permissions would not stop root."""
        folder = self._ground.storage_dir / "generations"
        blocked = self._ground.storage_dir / "generations.away"
        if blocked.exists() or not folder.is_dir():
            return False
        blocked.write_bytes(b"")
        self._notes.add("storage_lost")
        _exchange(folder, blocked)

        def give_back() -> None:
            _exchange(folder, blocked)
            blocked.unlink()
            self._notes.add("storage_back")

        self._later(self._away_s(), give_back)
        return True

    def _ring_again(self) -> bool:
        with self._ground.database.reading() as session:
            opened = select(Generation.id).where(Generation.status == GenerationStatus.PROCESSING)
            generations = session.scalars(opened).all()
        rung = 0
        bell = Bell(self._ground.redis.url)
        for generation_id in generations:
            try:
                bell.ring(generation_id, times=RINGS_AGAIN)
            except BellAway:
                break  # what was rung so far is trouble enough
            rung += 1
        bell.close()
        self._notes.add("rung_again", generations=rung)
        return rung > 0

    def _take_lease(self) -> bool:
        worker = self._holder()
        if worker is None:
            return False
        self._notes.add("lease_taken", pid=worker.pid, held=self.held_by(worker))
        self.take_away_from(worker)
        return True

    def _poison(self) -> bool:
        return self.poison(1) > 0

    def poison(self, most: int) -> int:
        """Make the key-points of some queued pictures unreadable; return of how many."""
        with self._ground.database.writing() as session:
            queued = select(WorkItem.id).where(WorkItem.status == ItemStatus.QUEUED).order_by(WorkItem.queued_at)
            waiting = session.scalars(queued.limit(50)).all()
            chosen = self._random.sample(waiting, min(most, len(waiting)))
            won = session.scalars(
                update(WorkItem)
                .where(WorkItem.id.in_(chosen), WorkItem.status == ItemStatus.QUEUED)
                .values(people=_UNREADABLE)
                .returning(WorkItem.id)
                .execution_options(synchronize_session=False)
            ).all()
        for item_id in won:
            self._notes.add("poisoned", item_id=item_id)
        return len(won)

    def take_away_from(self, worker: Process) -> None:
        """Return what a worker holds to the queue, as if its leases had lapsed: its deliveries come too late."""
        with self._ground.database.writing() as session:
            session.execute(
                update(WorkItem)
                .where(WorkItem.status == ItemStatus.DRAWING, WorkItem.worker.like(_name_of(worker)))
                .values(status=ItemStatus.QUEUED, lease_until=None, worker=None)
                .execution_options(synchronize_session=False)
            )

    def count(self, status: ItemStatus) -> int:
        """Return how many pictures are in a state; -1 while the database is away."""
        try:
            with self._ground.database.reading() as session:
                return len(session.scalars(select(WorkItem.id).where(WorkItem.status == status)).all())
        except PosegenError:
            return -1

    def _holder(self) -> Process | None:
        """Return a worker that holds pictures now; after a while any that is awake, None when there is none."""
        deadline = time.monotonic() + FIND_HOLDER_S
        while True:
            self.end_due()
            self._ground.look_after()
            awake = [one for one in self._ground.workers if one.running and not one.stopped and not one.expected]
            holding = [one for one in awake if self.held_by(one)]
            if holding or not awake or time.monotonic() > deadline:
                return self._random.choice(holding or awake) if awake else None
            time.sleep(0.05)

    def held_by(self, worker: Process) -> list[str]:
        """Return what the process in this place holds, by SQL; nothing while the database is away."""
        drawing = select(WorkItem.id).where(
            WorkItem.status == ItemStatus.DRAWING, WorkItem.worker.like(_name_of(worker))
        )
        try:
            with self._ground.database.reading() as session:
                return list(session.scalars(drawing))
        except PosegenError:
            return []


def _name_of(worker: Process) -> str:
    """Return the pattern of the name under which the process in this place claims."""
    return f"{os.uname().nodename}-{worker.pid}-%"


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step. Raises OSError."""
    failed = _LIBC.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
