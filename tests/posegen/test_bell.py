"""The bell and the event channel, on a real Redis."""

import asyncio
import json
import os
import signal
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from redis import Redis
from support.house import NOW, House, all_at_once
from support.waiting import wait_until

from posegen.announcing import Announcer
from posegen.bell import CHANNEL_PREFIX, DRAW, QUEUE, REST_S, RING_S, Bell, QueueCounts
from posegen.channel import Channel, Nudge
from posegen.errors import BellAway
from posegen.events import record_event
from posegen.private_redis import PrivateRedis
from posegen.reconciler import Healer, reconcile_once
from posegen.statuses import EventType, WorkerStatus
from posegen.storage import Links


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bell(redis_url: str, clock: Clock) -> Iterator[Bell]:
    made = Bell(redis_url, clock=clock)
    yield made
    made.close()


def announcer(house: House, bell: Bell) -> Announcer:
    return Announcer(house.database, bell, Links("a secret", life_s=60))


def test_a_ring_waits_until_it_is_heard(bell: Bell) -> None:
    bell.ring("g1")
    bell.ring("g2", times=3)

    assert bell.waiting() == 4
    assert bell.counts() == QueueCounts(waiting=4, active=0, completed=0, failed=0, delayed=0)


def test_a_ring_is_json_and_names_the_one_function(bell: Bell) -> None:
    bell.ring("g1")

    job = bell.queue.jobs[0]
    assert (job.func_name, job.args, job.kwargs) == (DRAW, ["g1"], {})
    stored = bell.redis.hget(f"rq:job:{job.id}", "data")
    assert json.loads(zlib.decompress(stored)) == [DRAW, None, ["g1"], {}]


def test_a_ring_is_not_tried_again_and_has_no_alarm(bell: Bell) -> None:
    bell.ring("g1")

    job = bell.queue.jobs[0]
    assert (job.timeout, job.retries_left) == (-1, None)
    assert bell.queue.name == QUEUE


def test_reading_the_counts_changes_nothing_in_redis(bell: Bell) -> None:
    bell.ring("g1")
    before = sorted(bell.redis.keys())

    bell.counts()

    assert sorted(bell.redis.keys()) == before


def test_without_redis_every_call_says_so_quickly(redis_server: PrivateRedis, bell: Bell) -> None:
    bell.ping()
    redis_server.stop()

    began = monotonic()
    for call in (
        lambda: bell.ring("g1"),
        bell.waiting,
        bell.counts,
        bell.ping,
        lambda: bell.publish("ann", {"eventId": 1}),
    ):
        with pytest.raises(BellAway):
            call()

    assert monotonic() - began < 1


@pytest.fixture
def frozen(redis_server: PrivateRedis, bell: Bell) -> Iterator[Bell]:
    """A bell whose Redis answered a moment ago and stands still now; the kernel still takes what is sent."""
    bell.ring("g0")
    assert redis_server.process_id is not None
    os.kill(redis_server.process_id, signal.SIGSTOP)
    yield bell
    os.kill(redis_server.process_id, signal.SIGCONT)


def ring_and_time(bell: Bell) -> float:
    """Ring for a Redis that is away; return how long that took."""
    began = monotonic()
    with pytest.raises(BellAway):
        bell.ring("g1")
    return monotonic() - began


def test_an_order_waits_half_a_second_for_a_silent_redis_and_the_next_not_at_all(frozen: Bell) -> None:
    assert RING_S <= ring_and_time(frozen) < 2 * RING_S
    assert max(ring_and_time(frozen) for _ in range(20)) < RING_S / 4


def test_of_many_at_once_one_asks_whether_a_silent_redis_is_back(frozen: Bell, clock: Clock) -> None:
    ring_and_time(frozen)
    clock.now_s += REST_S

    waits = all_at_once([lambda: ring_and_time(frozen)] * 8)

    assert sorted(isinstance(wait_s, float) and wait_s >= RING_S for wait_s in waits) == [False] * 7 + [True]
    assert ring_and_time(frozen) < RING_S / 4


def test_the_bell_rings_again_when_redis_is_back(redis_server: PrivateRedis, bell: Bell, clock: Clock) -> None:
    bell.ping()
    redis_server.stop()
    ring_and_time(bell)
    redis_server.start()
    clock.now_s += REST_S

    bell.ring("g2")
    bell.ring("g3")

    assert [job.args for job in bell.queue.jobs] == [["g2"], ["g3"]]


def test_who_asks_whether_redis_is_there_mends_the_bell(redis_server: PrivateRedis, bell: Bell) -> None:
    redis_server.stop()
    ring_and_time(bell)
    redis_server.start()

    bell.ping()
    bell.ring("g2")

    assert bell.waiting() == 1


def test_a_restart_of_redis_between_two_rings_loses_none(redis_server: PrivateRedis, bell: Bell) -> None:
    bell.ring("g1")
    redis_server.stop()
    redis_server.start()

    bell.ring("g2")

    assert [job.args for job in bell.queue.jobs] == [["g1"], ["g2"]]


def test_events_are_published_after_their_commit_in_order(sqlite_house: House, bell: Bell) -> None:
    sqlite_house.customer()
    with Redis.from_url(f"redis://{_address(bell)}") as client, client.pubsub() as heard:
        heard.psubscribe(f"{CHANNEL_PREFIX}*")
        wait_until(lambda: heard.get_message(timeout=1))

        with announcer(sqlite_house, bell).writing() as session:
            for message in ("one", "two"):
                record_event(session, "ann", "g1", EventType.STARTED, {"message": message}, now=NOW)
            assert heard.get_message(timeout=0.05) is None

        told = [wait_until(lambda: heard.get_message(timeout=1)) for _ in range(2)]

    assert [message["channel"] for message in told] == [b"pose-generation:ann"] * 2
    assert [(json.loads(message["data"])["eventId"], json.loads(message["data"])["message"]) for message in told] == [
        (1, "one"),
        (2, "two"),
    ]


def test_nothing_is_published_of_what_was_rolled_back(sqlite_house: House, bell: Bell) -> None:
    sqlite_house.customer()
    with Redis.from_url(f"redis://{_address(bell)}") as client, client.pubsub() as heard:
        heard.psubscribe(f"{CHANNEL_PREFIX}*")
        wait_until(lambda: heard.get_message(timeout=1))

        with pytest.raises(ZeroDivisionError):
            _record_and_break(announcer(sqlite_house, bell))

        assert heard.get_message(timeout=0.1) is None


def _record_and_break(making: Announcer) -> None:
    with making.writing() as session:
        record_event(session, "ann", "g1", EventType.STARTED, {}, now=NOW)
        raise ZeroDivisionError


def test_events_are_kept_when_redis_is_away(sqlite_house: House, redis_server: PrivateRedis, bell: Bell) -> None:
    sqlite_house.customer()
    redis_server.stop()
    making = announcer(sqlite_house, bell)

    with making.writing() as session:
        record_event(session, "ann", "g1", EventType.STARTED, {}, now=NOW)

    assert [event.event_id for event in sqlite_house.events("ann")] == [1]
    assert not making.ring("g1", times=1)


def test_the_channel_hears_who_has_news_and_ignores_nonsense(bell: Bell) -> None:
    async def listen() -> Nudge:
        async for nudge in Channel(f"redis://{_address(bell)}").listen():
            return nudge
        raise AssertionError("the channel ended")

    async def speak() -> Nudge:
        hearing = asyncio.ensure_future(listen())
        while not bell.redis.pubsub_numpat():
            await asyncio.sleep(0.01)
        for nonsense in (b"not json", b"[1]", b'{"eventId": "7"}', b"{}"):
            bell.redis.publish(f"{CHANNEL_PREFIX}ann", nonsense)
        bell.publish("bob", {"eventId": 7})
        return await asyncio.wait_for(hearing, 10)

    assert asyncio.run(speak()) == Nudge(user_id="bob", event_id=7)


def test_the_reconciler_rings_for_what_waits_but_not_twice(sqlite_house: House, bell: Bell) -> None:
    sqlite_house.customer()
    sqlite_house.worker(heard=datetime.now(UTC))
    generation_id = sqlite_house.order("ann", 2).generation_id
    making = announcer(sqlite_house, bell)

    assert reconcile_once(making, witness_since=None).rung == 1
    assert reconcile_once(making, witness_since=None).rung == 0

    assert [job.args for job in bell.queue.jobs] == [[generation_id]]


@pytest.mark.parametrize(
    "worker",
    [None, {"profile": "flux1-dev"}, {"heard_s_ago": 60}, {"status": WorkerStatus.DRAINING}],
    ids=["none", "another profile", "dead", "leaving"],
)
def test_nobody_is_rung_for_what_no_worker_draws(
    sqlite_house: House, bell: Bell, worker: dict[str, Any] | None
) -> None:
    sqlite_house.customer()
    sqlite_house.order("ann", 2)
    if worker is not None:
        heard = datetime.now(UTC) - timedelta(seconds=worker.pop("heard_s_ago", 0))
        sqlite_house.worker(heard=heard, **worker)

    assert reconcile_once(announcer(sqlite_house, bell), witness_since=None).rung == 0


def test_a_starting_worker_is_rung_for(sqlite_house: House, bell: Bell) -> None:
    sqlite_house.customer()
    sqlite_house.order("ann", 2)
    sqlite_house.worker(heard=datetime.now(UTC), status=WorkerStatus.STARTING)

    assert reconcile_once(announcer(sqlite_house, bell), witness_since=None).rung == 1


def test_rings_that_change_nothing_become_rare_and_are_prompt_again_after_a_change(
    sqlite_house: House, bell: Bell, clock: Clock
) -> None:
    """Whoever hears them may be a worker that cannot help; each leaves a trace in Redis for a day."""
    sqlite_house.customer()
    sqlite_house.worker(heard=datetime.now(UTC))
    sqlite_house.order("ann", 1)
    healer = Healer(announcer(sqlite_house, bell), every_s=3, clock=clock)

    heard = 0
    for _ in range(40):
        clock.now_s += 3
        healer.heal()
        heard += bell.waiting()
        bell.queue.empty()
    assert 10 <= heard <= 14

    sqlite_house.order("ann", 1)
    clock.now_s += 3
    healer.heal()
    assert bell.waiting() == 1


def test_a_ring_that_redis_lost_is_made_good_within_15_s_however_long_the_same_pictures_waited(
    sqlite_house: House, bell: Bell, clock: Clock
) -> None:
    sqlite_house.customer()
    sqlite_house.worker(heard=datetime.now(UTC))
    sqlite_house.order("ann", 1)
    healer = Healer(announcer(sqlite_house, bell), every_s=3, clock=clock)
    for _ in range(100):
        clock.now_s += 3
        healer.heal()
        bell.queue.empty()
    while not bell.waiting():
        clock.now_s += 3
        healer.heal()

    bell.redis.flushall()

    for _ in range(5):
        clock.now_s += 3
        healer.heal()
    assert bell.waiting() == 1


def test_the_reconciler_heals_sql_without_redis(sqlite_house: House, redis_server: PrivateRedis, bell: Bell) -> None:
    sqlite_house.customer()
    sqlite_house.order("ann", 2)
    sqlite_house.claim(now=NOW.replace(year=2020))
    redis_server.stop()

    done = reconcile_once(announcer(sqlite_house, bell), witness_since=None)

    assert (done.requeued, done.rung) == (2, 0)


def _address(bell: Bell) -> str:
    arguments = bell.redis.connection_pool.connection_kwargs
    return f":{arguments['password']}@{arguments['host']}:{arguments['port']}/0"
