"""Redis, in one place: the bell that wakes workers (RQ) and the channel that hurries events. SQL holds the truth.

A ring too many is harmless and a lost one is healed, so every failure here becomes BellAway and is logged by the edge,
never shown to a customer. Jobs carry JSON, never pickles, and name the one function workers will run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from posegen.errors import BellAway
from posegen.identifiers import new_id

QUEUE: Final = "posegen"
DRAW: Final = "gpu_worker.jobs.draw"
"""The only callable a worker runs."""
CHANNEL_PREFIX: Final = "pose-generation:"
ANSWER_S: Final = 2.0
"""How long Redis may take to answer before it counts as away; an order must not wait for its bell."""
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

    def __init__(self, url: str) -> None:
        self.redis = connect(url)
        self.queue = Queue(QUEUE, connection=self.redis, serializer=JSONSerializer)

    def ring(self, generation_id: str, *, times: int = 1) -> None:
        """Wake up to `times` workers. The id says what rang; a worker takes the best work whatever it was."""
        try:
            for _ in range(times):
                self.queue.enqueue_call(
                    DRAW,
                    args=(generation_id,),
                    job_id=new_id(),
                    timeout=-1,  # no alarm signal in the worker: draw ends by itself within a minute or so
                    result_ttl=RESULT_TTL_S,
                    failure_ttl=FAILURE_TTL_S,
                )
        except RedisError as error:
            raise BellAway from error

    def waiting(self) -> int:
        """Return how many rings nobody has heard yet."""
        try:
            return int(self.queue.count)
        except RedisError as error:
            raise BellAway from error

    def publish(self, user_id: str, message: Mapping[str, Any]) -> None:
        """Send an event to whoever listens for the user."""
        try:
            self.redis.publish(f"{CHANNEL_PREFIX}{user_id}", json.dumps(message))
        except RedisError as error:
            raise BellAway from error

    def counts(self) -> QueueCounts:
        """Return RQ's counts. Nothing is cleaned up by reading them."""
        try:
            active, completed, failed, delayed = (
                registry(queue=self.queue, serializer=JSONSerializer).get_job_count(cleanup=False)
                for registry in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry, ScheduledJobRegistry)
            )
            return QueueCounts(
                waiting=int(self.queue.count), active=active, completed=completed, failed=failed, delayed=delayed
            )
        except RedisError as error:
            raise BellAway from error

    def ping(self) -> None:
        """Return when Redis answers."""
        try:
            self.redis.ping()
        except RedisError as error:
            raise BellAway from error

    def close(self) -> None:
        """Give the connections back."""
        self.redis.close()


def connect(url: str, *, answer_s: float = ANSWER_S) -> "Redis":
    """Return a client that gives up quickly. RQ needs bytes, so nothing is decoded."""
    return Redis.from_url(
        url,
        socket_connect_timeout=answer_s,
        socket_timeout=answer_s,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=15,
    )
