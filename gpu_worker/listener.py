"""The ear: RQ's SimpleWorker, in the main thread, running one allowed function in this process.

RQ's plain worker forks for every job, which a process with a CUDA context must not do. A Redis outage ends RQ's loop;
the listener begins it again, with growing pauses, because the work it would wake for is safe in SQL.

Whoever can write to Redis can wake this process and nothing else: messages are JSON, name one function with one short
id, their callbacks are ignored, and RQ's own commands (stop, kill) are not listened to.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from posegen.bell import DRAW, QUEUE, connect
from posegen.crash_points import Act, around
from posegen.identifiers import new_id

log = structlog.get_logger()

WORKER_TTL_S = 30
"""How long RQ believes in a silent listener; its dequeue waits WORKER_TTL_S - 15 seconds at a time."""
HEARD_S = 15
"""How long RQ's row of this worker outlives it. SimpleWorker says nothing while a job runs: a thread of ours does."""
HEARTBEAT_EVERY_S = 5.0
JOB_S = 180
"""So long RQ believes in a job whose worker fell silent; `draw` itself ends within a minute or so."""
MOST_PAUSE_S = 5.0
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class DrawJob(Job):
    """A job that can run nothing but `draw`, whatever its message in Redis names; callbacks are ignored."""

    draw: Callable[[str], None]

    @property
    def func(self) -> Callable[..., Any]:
        """Return the one function there is. Raises PermissionError for a message that asks for anything else."""
        if self.func_name != DRAW or self.instance is not None or self.kwargs or not _is_one_id(self.args):
            raise PermissionError(f"the queue asked for {str(self.func_name)[:80]!r}; only {DRAW} with one id is run")
        return DrawJob.draw

    success_callback = failure_callback = stopped_callback = None


def _is_one_id(arguments: object) -> bool:
    """Tell whether these are the arguments of a ring. A long one would be rung on and on by `draw`."""
    if not isinstance(arguments, list) or len(arguments) != 1:
        return False
    return isinstance(arguments[0], str) and _ID.fullmatch(arguments[0]) is not None


class _Worker(SimpleWorker):
    job_class = DrawJob
    death_penalty_class = TimerDeathPenalty
    max_connection_wait_time = MOST_PAUSE_S
    is_in_job = False

    def _install_signal_handlers(self) -> None:
        """Leave the signals to the process."""

    def subscribe(self) -> None:
        """Hear no commands over Redis: they could end this process or its job."""

    def unsubscribe(self) -> None:
        """There is nothing to unsubscribe."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return JOB_S

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(HEARD_S, pipeline=pipeline)

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]
        self.heartbeat()

    def say_alive(self) -> None:
        """Prolong this worker's row, or write it again when Redis has lost it."""
        if self.connection.exists(self.key):
            self.heartbeat()
        else:
            self.register_birth()

    def execute_job(self, job: Job, queue: Any) -> None:
        self.is_in_job = True
        try:
            with around(Act.REDIS_JOB):
                super().execute_job(job, queue)
        finally:
            self.is_in_job = False


class Listener:
    """Hears rings until stopped. `listen` and `stop` belong to the main thread (`stop` to its signal handler)."""

    def __init__(self, url: str, draw: Callable[[str], None], *, name: str) -> None:
        DrawJob.draw = staticmethod(draw)
        self._url = url
        self._name = name
        self._worker: _Worker | None = None
        self._stopping = False
        self._listening = False

    def listen(self) -> None:
        """Run jobs until `stop`. Redis may come and go."""
        pause_s = 0.5
        self._listening = True
        try:
            while not self._stopping:
                began = time.monotonic()
                try:
                    self._hear()
                except RedisError as error:
                    log.warning("bell.away", error=str(error))
                if self._stopping:
                    return
                pause_s = 0.5 if time.monotonic() - began > 30 else min(pause_s * 2, MOST_PAUSE_S)
                time.sleep(pause_s)
        except StopRequested:
            return
        finally:
            self._listening = False

    def stop(self) -> None:
        """End `listen`: at once when it waits for a ring, after the running job otherwise (which must be told too)."""
        self._stopping = True
        worker = self._worker
        if worker is not None:
            worker._stop_requested = True
        if self._listening and not (worker is not None and worker.is_in_job):
            raise StopRequested

    def _hear(self) -> None:
        connection = connect(self._url, answer_s=WORKER_TTL_S)
        heart: _Heart | None = None
        try:
            worker = self._worker = _Worker(
                [QUEUE],
                name=f"{self._name}-{new_id()[-8:]}",
                connection=connection,
                job_class=DrawJob,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL_S,
                log_job_description=False,
            )
            heart = _Heart(worker)
            heart.start()
            worker.work(logging_level="WARNING")
        finally:
            self._worker = None
            if heart is not None:
                heart.end()
            connection.close()


class _Heart(threading.Thread):
    """Says every few seconds that a worker is alive, while it waits for a ring and while it draws."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__(name="heart", daemon=True)
        self._worker = worker
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(HEARTBEAT_EVERY_S):
            try:
                self._worker.say_alive()
            except RedisError:
                log.debug("heart.bell_away")  # the listener itself tells it

    def end(self) -> None:
        """Say nothing more; the row lives on for a moment."""
        self._ended.set()
