"""Orders walked through real processes, with what may go wrong on the way done to them for real."""

import io
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select
from support.processes import RealProcess
from support.servers import PostgresServer
from support.waiting import wait_until

from posegen.exit_codes import ExitCode
from posegen.private_redis import PrivateRedis
from posegen.tables import WorkerRow, WorkItem

if TYPE_CHECKING:
    from .conftest import Service

APP = "/api/apps/pose-generator"
HANG = """
import sys, time
import gpu_worker.engine_thread as engine_thread
from gpu_worker.__main__ import main
from models.fake import FakeEngine

engine_thread.FIRST_CALL_S = engine_thread.LATER_CALL_S = 2.0
FakeEngine.forward = lambda self, rows: time.sleep(3600)
sys.exit(main())
"""
LOAD_FOR_EVER = """
import sys, time
import gpu_worker.process as process
from gpu_worker.__main__ import main

process.open_engine = lambda options, settings: time.sleep(3600)
sys.exit(main())
"""
pytestmark = pytest.mark.timeout(400)

BREAK_THEN_WORK = """
import sys
from gpu_worker.__main__ import main
from models.errors import CardFailed
from models.fake import FakeEngine

def forward(self, rows):
    raise CardFailed("fake", "an illegal memory access was encountered")

FakeEngine.forward = forward
sys.exit(main())
"""


def holder_of_a_picture(service: "Service", workers: list[RealProcess]) -> RealProcess | None:
    """The worker process that is drawing something now."""
    with service.database.reading() as session:
        drawing = select(WorkItem.worker).where(WorkItem.status == "drawing")
        pids = set(session.scalars(select(WorkerRow.pid).where(WorkerRow.name.in_(drawing))))
    return next((worker for worker in workers if worker.pid in pids), None)


def assert_told_everything(told: list[dict[str, Any]], *, user_id: str, generation_id: str, pictures: int) -> None:
    assert {(event["userId"], event["generationId"]) for event in told} == {(user_id, generation_id)}
    assert [event["eventId"] for event in told] == list(range(1, len(told) + 1))
    types = [event["type"] for event in told]
    assert (types[0], types[-1]) == ("started", "completed")
    assert types.count("pose_completed") == types.count("progress") == pictures
    counts = [event["completed"] for event in told if event["type"] == "progress"]
    assert counts == list(range(1, pictures + 1))


def drawn_pixels(service: "Service", generation_id: str) -> dict[str, np.ndarray]:
    """What is in the store of an order, by variation."""
    found = {}
    for picture in service.house.pictures(generation_id):
        assert picture.output_key is not None
        with Image.open(service.folder / "var" / "storage" / picture.output_key) as opened:
            found[picture.variation_key] = np.asarray(opened, dtype=np.int16)
    return found


def test_two_customers_get_their_twelve_pictures_though_a_worker_is_killed(service: "Service") -> None:
    service.start_api()
    workers = [service.start_worker(name, "--device", "cpu", "--profile", "tiny") for name in ("one", "two")]
    for worker in workers:
        worker.wait_for_log("worker.ready", timeout_s=120)
    ann, bob = service.customer("ann", credits=1000), service.customer("bob", credits=1000)
    told = {ann.id: ann.follow(), bob.id: bob.follow()}

    orders = {
        ann.id: ann.order(3, 2, textPrompt="a woman in a long red coat", steps=30),
        bob.id: bob.order(3, 2, textPrompt="a man in a blue suit, studio", steps=24),
    }
    wait_until(lambda: any(told.values()), message="the first event")
    killed: list[RealProcess] = []

    def kill_a_holder() -> bool:
        holder = holder_of_a_picture(service, workers)
        if holder is not None and any(len(generations) > 1 for generations in service.forwards(*workers)):
            holder.send(signal.SIGKILL)
            killed.append(holder)
        return bool(killed)

    wait_until(kill_a_holder, timeout_s=60, message="a worker that draws pictures of both")
    for customer in (ann, bob):
        wait_until(
            lambda customer=customer: customer.status(orders[customer.id]) == "completed",
            timeout_s=120,
            message=lambda: "\n".join(worker.log for worker in workers),
        )
        wait_until(
            lambda customer=customer: told[customer.id][-1:] and told[customer.id][-1]["type"] == "completed",
            message="the last event",
        )

    assert {ann_bob for generations in service.forwards(*workers) for ann_bob in generations} == set(orders.values())
    assert any(len(generations) == 2 for generations in service.forwards(*workers))
    for customer in (ann, bob):
        results = customer.get(f"{APP}/generations/{orders[customer.id]}/results")["results"]
        assert len({picture["variationKey"] for picture in results}) == len(results) == 6
        for picture in results:
            with Image.open(io.BytesIO(customer.fetch(picture["outputImageUrl"]))) as png:
                assert png.size == (256, 256)
            assert (picture["backend"], picture["poseApplied"]) == ("tiny", True)
        assert_told_everything(told[customer.id], user_id=customer.id, generation_id=orders[customer.id], pictures=6)
        assert customer.get("/api/credits/balance")["data"]["balance"] == 1000 - 6 * 30
        assert [entry.type for entry in service.house.entries(customer.id)] == ["bonus", "usage"]
    redrawn = [item for item in service.house.items() if item.attempt > 1]
    assert redrawn, "the killed worker held nothing, so this proved nothing"
    service.house.assert_books_balance()


def test_a_client_that_comes_back_is_told_what_it_missed(service: "Service") -> None:
    service.start_api()
    service.start_worker("one", "--device", "fake").wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(2, 1)
    wait_until(lambda: ann.status(generation_id) == "completed", message="the order")

    missed = ann.follow(after=2)
    wait_until(lambda: missed[-1:] and missed[-1]["type"] == "completed", message="what was missed")

    assert [event["eventId"] for event in missed] == [3, 4, 5, 6]


def test_an_order_placed_while_redis_is_away_is_drawn_when_it_is_back(
    service: "Service", redis_server: PrivateRedis
) -> None:
    service.start_api()
    worker = service.start_worker("one", "--device", "fake:0.01")
    worker.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)

    redis_server.kill()
    generation_id = ann.order(4, 1)
    assert ann.status(generation_id) == "processing"
    redis_server.start()

    wait_until(lambda: ann.status(generation_id) == "completed", timeout_s=60, message=lambda: worker.log)
    assert worker.running
    service.house.assert_books_balance()


def test_a_worker_that_is_killed_leaves_pictures_that_the_next_one_finishes_once(service: "Service") -> None:
    service.start_api()
    first = service.start_worker("first", "--device", "fake:0.5")
    first.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(4, 1)
    first.wait_for_log("engine.forward")
    first.kill()

    second = service.start_worker("second", "--device", "fake:0.01")

    wait_until(lambda: ann.status(generation_id) == "completed", timeout_s=60, message=lambda: second.log)
    assert {item.attempt for item in service.house.items(generation_id)} == {2}
    assert len(service.house.pictures(generation_id)) == 4
    service.house.assert_books_balance()


def test_a_picture_begun_again_by_another_worker_is_the_one_of_a_first_try(sqlite_service: "Service") -> None:
    service = sqlite_service
    service.start_api()
    first = service.start_worker("first", "--device", "cpu", "--profile", "tiny")
    first.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    asked = {"seed": 4711, "width": 128, "height": 128, "steps": 40}
    resumed = ann.order(2, 1, **asked)
    first.wait_for_log("engine.forward")
    first.kill()
    second = service.start_worker("second", "--device", "cpu", "--profile", "tiny")
    wait_until(lambda: ann.status(resumed) == "completed", timeout_s=120, message=lambda: second.log)

    undisturbed = ann.order(2, 1, **asked)
    wait_until(lambda: ann.status(undisturbed) == "completed", timeout_s=120, message=lambda: second.log)

    assert {item.attempt for item in service.house.items(resumed)} == {2}
    assert {item.attempt for item in service.house.items(undisturbed)} == {1}
    again, at_first = (drawn_pixels(service, generation_id) for generation_id in (resumed, undisturbed))
    assert len(at_first) == 2
    assert not np.array_equal(*at_first.values()), "two poses, two pictures"
    assert again.keys() == at_first.keys()
    assert all(np.abs(again[key] - at_first[key]).max() <= 1 for key in at_first)  # 8 bits, each rounded by itself


def test_a_drained_worker_gives_its_pictures_back_within_a_step_and_ten_seconds(service: "Service") -> None:
    service.start_api()
    first = service.start_worker("first", "--device", "fake:3")
    first.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(4, 1)
    first.wait_for_log("engine.forward")

    assert first.terminate(timeout_s=3 + 10) == 0

    items = service.house.items(generation_id)
    assert {(item.status, item.attempt, item.crashes, item.worker) for item in items} == {("queued", 1, 0, None)}
    second = service.start_worker("second", "--device", "fake:0.01", "--burst")
    assert second.wait(timeout_s=60) == 0
    assert ann.status(generation_id) == "completed"


def test_a_cancelled_order_stops_and_is_refunded_but_for_what_was_delivered(service: "Service") -> None:
    service.start_api()
    worker = service.start_worker("one", "--device", "fake:0.1", "--max-batch", "2")
    worker.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    told = ann.follow()
    generation_id = ann.order(4, 3)
    wait_until(lambda: any(event["type"] == "pose_completed" for event in told), timeout_s=30, message="a picture")

    ann.post(f"{APP}/generations/{generation_id}/cancel", {}, expect=200)

    wait_until(lambda: told[-1]["type"] == "cancelled", message="the cancellation")
    delivered = len(service.house.pictures(generation_id))
    assert 0 < delivered < 12
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000 - 30 * delivered
    service.house.assert_books_balance()


def test_a_worker_refuses_to_start_on_a_database_without_tables(service: "Service", empty_sqlite_url: str) -> None:
    service._env["DATABASE_URL"] = empty_sqlite_url
    worker = service.start_worker("lost", "--device", "fake")

    assert worker.wait(timeout_s=30) == 78
    assert "posegen migrate" in worker.log


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_worker_that_comes_before_its_database_waits_for_it(
    service: "Service", postgres_server: PostgresServer
) -> None:
    postgres_server.stop()

    worker = service.start_worker("early", "--device", "fake")
    worker.wait_for_log("worker.database_away", timeout_s=30)
    postgres_server.start()

    worker.wait_for_log("worker.ready", timeout_s=60)


def test_a_card_that_breaks_ends_its_worker_which_returns_its_pictures_at_once(service: "Service") -> None:
    """Leases are long here and nobody else heals: only the worker itself can have returned them."""
    service.lease_s(600)
    service._env["RECOVER_EVERY_S"] = "60"
    service.start_api()
    broken = service.start_script("broken", BREAK_THEN_WORK, "--device", "fake")
    broken.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)

    generation_id = ann.order(2, 1)

    assert broken.wait(timeout_s=30) == ExitCode.CARD_FAILED
    assert "The device fake failed" in broken.log
    items = service.house.items(generation_id)
    assert {(item.status, item.crashes) for item in items} == {("queued", 1)}, "returned before the process ended"
    (row,) = service.house.workers()
    assert (row.status, row.died_at) == ("stopped", None)
    assert "an illegal memory access" in str(row.error_message)
    service.start_worker("well", "--device", "fake:0.01").wait_for_log("worker.ready", timeout_s=60)
    wait_until(lambda: ann.status(generation_id) == "completed", timeout_s=60, message="the redrawn order")
    service.house.assert_books_balance()


def test_workers_alone_heal_what_a_killed_one_held_while_no_api_runs(service: "Service") -> None:
    api = service.start_api()
    first = service.start_worker("first", "--device", "fake:1")
    first.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(4, 1)
    first.wait_for_log("engine.forward")
    api.kill()
    first.kill()

    service.start_worker("second", "--device", "fake:0.01")

    wait_until(lambda: service.house.generation(generation_id).status == "completed", timeout_s=60, message="the order")


def test_a_hung_engine_ends_its_worker_and_the_crash_is_counted(service: "Service") -> None:
    service.lease_s(20)
    service.start_api()
    hung = service.start_script("hung", HANG, "--device", "fake")
    hung.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)

    generation_id = ann.order(2, 1)

    assert hung.wait(timeout_s=30) == 70
    assert "engine.hung" in hung.log
    wait_until(
        lambda: {item.status for item in service.house.items(generation_id)} == {"queued"},
        timeout_s=40,
        message="the pictures back in the queue",
    )
    assert {item.crashes for item in service.house.items(generation_id)} == {1}


def test_a_worker_leaves_in_time_though_redis_is_silent(service: "Service", redis_server: PrivateRedis) -> None:
    service.start_api()
    worker = service.start_worker("one", "--device", "fake:3")
    worker.wait_for_log("worker.ready", timeout_s=60)
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(4, 1)
    worker.wait_for_log("engine.forward")

    assert redis_server.process_id is not None
    os.kill(redis_server.process_id, signal.SIGSTOP)
    try:
        worker.terminate(timeout_s=3 + 10 + 5)
    finally:
        os.kill(redis_server.process_id, signal.SIGCONT)

    assert {item.status for item in service.house.items(generation_id)} == {"queued"}


def test_orders_are_taken_while_a_second_worker_is_still_loading(service: "Service") -> None:
    service.start_api()
    service.start_worker("ready", "--device", "fake").wait_for_log("worker.ready", timeout_s=60)
    loading = service.start_script("loading", LOAD_FOR_EVER, "--device", "fake")
    wait_until(lambda: len(service.house.workers()) == 2, timeout_s=30, message=lambda: loading.log)
    ann = service.customer("ann", credits=1000)

    generation_id = ann.order(1, 1)

    wait_until(lambda: ann.status(generation_id) == "completed", message="the order")
    assert loading.terminate(timeout_s=5) == 0
