"""Redis, in one place: the bell that wakes workers (RQ) and the channel that hurries events. SQL holds the truth.

A ring too many is harmless and a lost one is healed, so every failure here becomes BellAway and is logged by the edge,
never shown to a customer. For the same reason nobody waits long for Redis, and while it is away hardly anybody at all:
for some seconds after a failure every call fails at once, then one of them tries. Jobs carry JSON, never pickles, and
name the one function workers will run.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from posegen.crash_points import Act, around
from posegen.errors import BellAway
from posegen.identifiers import new_id

QUEUE: Final = "posegen"
DRAW: Final = "gpu_worker.jobs.draw"
"""The only callable a worker runs."""
CHANNEL_PREFIX: Final = "pose-generation:"
PREVIEW_PREFIX: Final = "pose-generation-preview:"
"""A channel for each user, which is heard only while a socket of the user wants previews."""
RING_S: Final = 0.5
"""How long Redis may take to answer before it counts as away; an order must not wait for its bell."""
REST_S: Final = 3.0
"""So long Redis is left alone after it counted as away."""
ANSWER_S: Final = 2.0
"""The same as RING_S for those who listen, whom nobody waits for."""
RESULT_TTL_S: Final = 24 * 3600
FAILURE_TTL_S: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """RQ's own numbers, for operators; a customer is told SQL's."""

    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int


class Bell:
    """Rings for workers and publishes events. One per process; thread-safe. Every method may raise BellAway."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.redis = connect(url, answer_s=RING_S, more_tries=0)
        self._rest = _Rest(clock)
        self.queue = Queue(QUEUE, connection=self.redis, serializer=JSONSerializer)

    def ring(self, generation_id: str, *, times: int = 1) -> None:
        """Wake up to `times` workers. The id says what rang; a worker takes the best work whatever it was."""
        with self._rest.respected(Act.REDIS_RING):
            for _ in range(times):
                self.queue.enqueue_call(
                    DRAW,
                    args=(generation_id,),
                    job_id=new_id(),
                    timeout=-1,  # no alarm signal in the worker: draw ends by itself within a minute or so
                    result_ttl=RESULT_TTL_S,
                    failure_ttl=FAILURE_TTL_S,
                )

    def waiting(self) -> int:
        """Return how many rings nobody has heard yet."""
        with self._rest.respected():
            return int(self.queue.count)

    def publish(self, user_id: str, message: Mapping[str, Any]) -> None:
        """Send an event to whoever listens for the user."""
        with self._rest.respected(Act.REDIS_PUBLISH):
            self.redis.publish(f"{CHANNEL_PREFIX}{user_id}", json.dumps(message))

    def publish_preview(self, user_id: str, message: bytes) -> None:
        """Send a preview to whoever listens for the user's."""
        with self._rest.respected():
            self.redis.publish(f"{PREVIEW_PREFIX}{user_id}", message)

    def who_watches(self, user_ids: Sequence[str]) -> frozenset[str]:
        """Return those of the users whose previews somebody listens for."""
        if not user_ids:
            return frozenset()
        with self._rest.respected():
            told = self.redis.pubsub_numsub(*(f"{PREVIEW_PREFIX}{user_id}" for user_id in user_ids))
        # Answered in the order asked, one pair each.
        return frozenset(user_id for user_id, (_channel, listeners) in zip(user_ids, told, strict=True) if listeners)

    def counts(self) -> QueueCounts:
        """Return RQ's counts. Nothing is cleaned up by reading them."""
        with self._rest.respected():
            active, completed, failed, delayed = (
                registry(queue=self.queue, serializer=JSONSerializer).get_job_count(cleanup=False)
                for registry in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry, ScheduledJobRegistry)
            )
            return QueueCounts(
                waiting=int(self.queue.count), active=active, completed=completed, failed=failed, delayed=delayed
            )

    def ping(self) -> None:
        """Return when Redis answers, and let everybody use it again from then on."""
        with self._rest.trying(Act.REDIS_PING):
            self.redis.ping()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Run a block that uses our connections (`redis`) in its own way, and rests like everybody. Raises BellAway."""
        with self._rest.respected(Act.REDIS_RATES):
            yield

    def close(self) -> None:
        """Give the connections back."""
        self.redis.close()


class _Rest:
    """Keeps everybody away from a Redis that is away, but for one who tries again after REST_S. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until_s: float | None = None

    @contextmanager
    def respected(self, act: Act = Act.REDIS_READ) -> Iterator[None]:
        """Run a block that uses Redis, unless it rests: then raise BellAway at once."""
        with self._lock:
            if self._until_s is not None:
                if self._clock() < self._until_s:
                    raise BellAway
                self._until_s = self._clock() + REST_S  # we try; the others rest on
        with self.trying(act):
            yield

    @contextmanager
    def trying(self, act: Act) -> Iterator[None]:
        """Run a block that uses Redis, rest or not, and note how it went. Raises BellAway."""
        try:
            with around(act):
                yield
        except RedisError as error:
            with self._lock:
                self._until_s = self._clock() + REST_S
            raise BellAway from error
        with self._lock:
            self._until_s = None


def connect(url: str, *, answer_s: float = ANSWER_S, more_tries: int = 1) -> "Redis":
    """Return a client that gives up quickly. RQ needs bytes, so nothing is decoded."""
    return Redis.from_url(
        url,
        socket_connect_timeout=answer_s,
        socket_timeout=answer_s,
        retry=Retry(NoBackoff(), more_tries),
        health_check_interval=15,
    )
