"""The ear: rings are heard, hostile messages are not obeyed, Redis may come and go, and nothing grows in it."""

import json
import pickle
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.registry import FinishedJobRegistry
from rq.serializers import JSONSerializer
from support.processes import RealProcess
from support.waiting import wait_until

from posegen.bell import DRAW, FAILURE_TTL_S, QUEUE, RESULT_TTL_S, Bell
from posegen.private_redis import PrivateRedis

HEARD_S = 2
LISTEN = """
import os, signal, sys, time
from gpu_worker import listener
listener.HEARD_S, listener.HEARTBEAT_EVERY_S = int(sys.argv[2]), 0.3

def draw(rung_by):
    print("heard", rung_by, flush=True)
    while rung_by == "hold" and not os.path.exists("let-go"):
        time.sleep(0.05)

ear = listener.Listener(sys.argv[1], draw, name="ear")
signal.signal(signal.SIGTERM, lambda *_: ear.stop())
print("listening", flush=True)
ear.listen()
print("left", flush=True)
"""
NEVER_EXPIRING = {"rq:queues", "rq:workers", f"rq:workers:{QUEUE}", f"rq:finished:{QUEUE}", f"rq:failed:{QUEUE}"}
"""Sets of names, one or two in each, and registries whose entries carry their end with them."""


def listening_ear(redis_url: str, folder: Path, name: str = "ear") -> RealProcess:
    argv = ["python", "-c", LISTEN, redis_url, str(HEARD_S)]
    return RealProcess(argv, log_file=folder / f"{name}.log", cwd=folder)


@pytest.fixture
def ear(redis_url: str, tmp_path: Path) -> Iterator[RealProcess]:
    with listening_ear(redis_url, tmp_path) as process:
        process.wait_for_log("listening")
        yield process


@pytest.fixture
def bell(redis_url: str) -> Iterator[Bell]:
    made = Bell(redis_url)
    yield made
    made.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def rows_of_workers(redis: Any) -> list[str]:
    """RQ's rows of workers that say they live."""
    return [key for key in redis.keys("rq:worker:*") if redis.type(key) == "hash" and not redis.hexists(key, "death")]


def test_a_ring_is_heard(ear: RealProcess, bell: Bell) -> None:
    bell.ring("g1")

    ear.wait_for_log("heard g1")


class Mkdir:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.folder,)


def message(*parts: Any) -> bytes:
    return zlib.compress(json.dumps(parts).encode())


def put_message(bell: Bell, job_id: str, content: bytes, **more: Any) -> None:
    """Write a job as any client of this Redis could."""
    row = {
        "created_at": "2026-01-01T00:00:00.000000Z",
        "origin": QUEUE,
        "timeout": -1,
        "status": "queued",
        "data": content,
        **more,
    }
    bell.redis.hset(f"rq:job:{job_id}", mapping=row)
    bell.redis.rpush(f"rq:queue:{QUEUE}", job_id)


def test_no_message_but_a_ring_is_obeyed_and_none_keeps_the_next_ring_from_being_heard(
    ear: RealProcess, bell: Bell, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    hostile = {
        "pickle": pickle.dumps(Mkdir(witness)),
        "packed-pickle": zlib.compress(pickle.dumps(("os.mkdir", None, (str(witness),), {}))),
        "no-message": b"",
        "no-text": b"\xff\xfe\x00",
        "a-number": zlib.compress(b"7"),
        "an-object": zlib.compress(b'{"a": 1}'),
        "too-short": message(DRAW),
        "a-function": message("os.mkdir", None, [str(witness)], {}),
        "a-method": message(DRAW, "os", ["g"], {}),
        "options": message(DRAW, None, ["g"], {"mode": 1}),
        "giant-id": message(DRAW, None, ["x" * 5_000_000], {}),
        "a-path": message(DRAW, None, ["../../etc/passwd"], {}),
        "many": message(DRAW, None, ["g"] * 1000, {}),
        "nested": message(DRAW, None, [["g"]], {}),
    }

    for number, (name, content) in enumerate(hostile.items()):
        put_message(bell, name, content)
        bell.ring(f"after-{number}")
        ear.wait_for_log(f"heard after-{number}\n", timeout_s=20)

    assert not witness.exists()
    assert [line for line in ear.log.splitlines() if line.startswith("heard") and "after-" not in line] == []
    assert {bell.redis.hget(f"rq:job:{name}", "status") for name in hostile} == {b"failed"}


def test_what_a_message_wants_done_afterwards_is_not_done(ear: RealProcess, bell: Bell, tmp_path: Path) -> None:
    """Callbacks, results kept for ever, other jobs behind it: money moves in SQL only, and so does nothing here."""
    called = {f"{when}_callback_name": "os.abort" for when in ("success", "failure", "stopped")}
    put_message(bell, "well", message(DRAW, None, ["well"], {}), **called)
    put_message(bell, "ill", message("os.mkdir", None, [str(tmp_path / "witness")], {}), **called)
    bell.ring("after")

    ear.wait_for_log("heard after")
    assert "heard well" in ear.log
    assert ear.running
    assert not (tmp_path / "witness").exists()


def test_a_command_over_redis_ends_nobody(ear: RealProcess, bell: Bell, redis: Any) -> None:
    row = wait_until(lambda: rows_of_workers(redis))[0]

    for command in ("shutdown", "kill-horse", "stop-job"):
        redis.publish(f"rq:pubsub:{row.removeprefix('rq:worker:')}", json.dumps({"command": command, "job_id": "x"}))
    bell.ring("after")

    ear.wait_for_log("heard after")
    assert redis.pubsub_channels("rq:*") == []
    assert ear.running


def test_a_worker_is_seen_alive_while_it_waits_and_while_it_draws_and_seconds_after_its_death_no_more(
    ear: RealProcess, bell: Bell, redis: Any
) -> None:
    row = wait_until(lambda: rows_of_workers(redis))[0]
    for ring in ("", "hold"):
        if ring:
            bell.ring(ring)
            ear.wait_for_log(f"heard {ring}")
        began = time.monotonic()
        while time.monotonic() - began < HEARD_S + 0.5:  # longer than it would live by itself
            assert 0 < redis.ttl(row) <= HEARD_S

    ear.send(signal.SIGKILL)

    wait_until(lambda: not redis.exists(row), timeout_s=HEARD_S + 1)


def test_a_worker_whose_row_redis_lost_writes_it_again_and_hears_on(ear: RealProcess, bell: Bell, redis: Any) -> None:
    row = wait_until(lambda: rows_of_workers(redis))[0]

    redis.flushall()

    wait_until(lambda: rows_of_workers(redis) == [row])
    wait_until(lambda: redis.smembers("rq:workers") == {row}, message="the worker to be listed beside its row")
    bell.ring("after")
    ear.wait_for_log("heard after")


def test_two_workers_of_one_name_are_two_and_each_hears_one_queue_without_a_scheduler(
    ear: RealProcess, redis_url: str, redis: Any, tmp_path: Path
) -> None:
    with listening_ear(redis_url, tmp_path, "other") as other:
        other.wait_for_log("listening")
        rows = wait_until(lambda: len(rows_of_workers(redis)) == 2 and rows_of_workers(redis))

        assert {redis.hget(row, "queues") for row in rows} == {QUEUE}
        assert redis.keys("rq:scheduler*") == []


def test_nothing_is_left_in_redis_of_rings_that_were_heard_but_what_expires(
    ear: RealProcess, bell: Bell, redis: Any
) -> None:
    Queue(QUEUE, connection=bell.redis, serializer=JSONSerializer).enqueue("os.getpid", failure_ttl=FAILURE_TTL_S)
    for number in range(100):
        bell.ring(f"g{number}")
    wait_until(lambda: bell.counts().completed == 100, timeout_s=30)
    ear.terminate()

    lives = {key: redis.ttl(key) for key in redis.keys("*")}
    assert {key for key, life_s in lives.items() if life_s < 0} <= NEVER_EXPIRING
    assert max(lives.values()) <= FAILURE_TTL_S
    now = time.time()
    for registry, kept_s in (("finished", RESULT_TTL_S), ("failed", FAILURE_TTL_S)):
        ends = [end - now for _job, end in redis.zrange(f"rq:{registry}:{QUEUE}", 0, -1, withscores=True)]
        assert kept_s - 60 < min(ends) <= max(ends) <= kept_s
    assert redis.smembers("rq:workers") == set()


def test_registries_are_cleared_of_what_expired_by_the_next_worker(bell: Bell, redis_url: str, tmp_path: Path) -> None:
    finished = FinishedJobRegistry(queue=bell.queue, serializer=JSONSerializer)
    bell.redis.zadd(finished.key, {f"long-ago-{number}": 1.0 for number in range(50)})
    assert bell.counts().completed == 50

    with listening_ear(redis_url, tmp_path):
        wait_until(lambda: bell.counts().completed == 0)


def test_a_stop_while_nothing_rings_ends_at_once(ear: RealProcess) -> None:
    assert ear.terminate(timeout_s=5) == 0
    assert "left" in ear.log


def test_rings_are_heard_again_after_redis_restarted(ear: RealProcess, bell: Bell, redis_server: PrivateRedis) -> None:
    bell.ring("before")
    ear.wait_for_log("heard before")

    redis_server.kill()
    redis_server.start()
    bell.ring("after")

    ear.wait_for_log("heard after", timeout_s=30)
