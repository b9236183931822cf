"""The ear: rings are heard, hostile messages are not obeyed, Redis may come and go."""

from pathlib import Path

import pytest
from rq import Queue
from rq.serializers import JSONSerializer
from support.processes import RealProcess
from support.waiting import wait_until

from posegen.bell import QUEUE, Bell
from posegen.private_redis import PrivateRedis

LISTEN = """
import signal, sys
from gpu_worker.listener import Listener
listener = Listener(sys.argv[1], lambda rung_by: print("heard", rung_by, flush=True), name="ear")
signal.signal(signal.SIGTERM, lambda *_: listener.stop())
print("listening", flush=True)
listener.listen()
print("left", flush=True)
"""


@pytest.fixture
def ear(redis_url: str, tmp_path: Path):  # type: ignore[no-untyped-def]
    with RealProcess(["python", "-c", LISTEN, redis_url], log_file=tmp_path / "ear.log") as process:
        process.wait_for_log("listening")
        yield process


@pytest.fixture
def bell(redis_url: str):  # type: ignore[no-untyped-def]
    made = Bell(redis_url)
    yield made
    made.close()


def test_a_ring_is_heard(ear: RealProcess, bell: Bell) -> None:
    bell.ring("g1")

    ear.wait_for_log("heard g1")


def test_a_message_that_names_another_function_is_not_run(ear: RealProcess, bell: Bell, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    hostile = Queue(QUEUE, connection=bell.redis, serializer=JSONSerializer)
    hostile.enqueue("os.mkdir", str(witness))
    hostile.enqueue("subprocess.check_call", ["touch", str(witness)])
    bell.ring("g2")

    ear.wait_for_log("heard g2")
    assert not witness.exists()
    wait_until(lambda: bell.counts().failed == 2, message="both hostile jobs failed")


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
