"""What a studio sees, done to real processes: Redis, database and disk go away, workers freeze, pictures kill them."""

import hashlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text, update
from support.processes import RealProcess
from support.servers import PostgresServer
from support.waiting import wait_until

from posegen.exit_codes import ExitCode
from posegen.private_redis import PrivateRedis
from posegen.recovery import CRASHES_ALONE
from posegen.storage import Storage
from posegen.sweeping import missing_files
from posegen.tables import WorkerRow, WorkItem

if TYPE_CHECKING:
    from .conftest import Customer, Service

pytestmark = pytest.mark.timeout(300)

PRICE = 30


def started(service: "Service", *workers: str) -> list[RealProcess]:
    """Start an API and workers of these devices, and wait until they are ready."""
    service.start_api()
    processes = [service.start_worker(f"worker-{number}", "--device", name) for number, name in enumerate(workers)]
    for process in processes:
        process.wait_for_log("worker.ready", timeout_s=60)
    return processes


def wait_for(customer: "Customer", generation_id: str, status: str, *workers: RealProcess) -> None:
    wait_until(
        lambda: customer.status(generation_id) == status,
        timeout_s=90,
        message=lambda: "\n".join(worker.log[-4000:] for worker in workers),
    )


def keep_what_is_committed(service: "Service") -> None:
    """The tests' server is careless: what it committed last would be lost with it. This database of it is not."""
    with service.database.writing() as session:
        session.execute(text(f'ALTER DATABASE "{service.database.url.database}" SET synchronous_commit = on'))


def digests(folder: Path) -> dict[str, str]:
    """Every file below the folder, and what is in it."""
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()}


def assert_every_row_has_its_files_and_nothing_else_stays(service: "Service") -> None:
    store = Storage(service.folder / "var" / "storage")
    assert list(missing_files(service.database, store)) == []
    named = {
        key
        for item in service.house.items()
        for picture in service.house.pictures(item.generation_id or "")
        for key in (picture.output_key, picture.thumbnail_key)
    } - {None}

    def stored() -> set[str]:
        return {file.key for page in store.pages() for file in page if file.key.startswith("generations/")}

    wait_until(lambda: stored() == named, timeout_s=20, message=lambda: f"{stored() ^ named}")


def test_work_goes_on_through_an_outage_of_redis_and_of_the_disk(
    sqlite_service: "Service", redis_server: PrivateRedis
) -> None:
    """What is held is drawn and committed without Redis; the worker comes back to it by itself, then to the disk."""
    (worker,) = started(sqlite_service, "fake:0.05")
    ann = sqlite_service.customer("ann", credits=1000)
    generation_id = ann.order(4, 2)
    worker.wait_for_log("engine.forward")

    redis_server.kill()
    wait_for(ann, generation_id, "completed", worker)
    worker.wait_for_log("bell.away", timeout_s=60)  # RQ's loop ended at the end of its job; ours begins it again
    redis_server.start()
    storage = sqlite_service.folder / "var" / "storage"
    (storage / "generations").rename(storage / "saved")
    (storage / "generations").write_text("a file where a folder should be")
    second = ann.order(2, 1)
    worker.wait_for_log("stamina.retry_scheduled", timeout_s=60)
    (storage / "generations").unlink()
    (storage / "saved").rename(storage / "generations")

    wait_for(ann, second, "completed", worker)
    assert worker.running
    assert {(item.attempt, item.crashes) for item in sqlite_service.house.items()} == {(1, 0)}
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000 - 10 * PRICE
    assert_every_row_has_its_files_and_nothing_else_stays(sqlite_service)
    sqlite_service.house.assert_books_balance()


def test_pictures_being_drawn_survive_a_crash_of_the_database(
    postgres_service: "Service", postgres_server: PostgresServer
) -> None:
    keep_what_is_committed(postgres_service)
    (worker,) = started(postgres_service, "fake:0.1")
    ann = postgres_service.customer("ann", credits=1000)
    generation_id = ann.order(4, 3)
    worker.wait_for_log("picture.finished")

    postgres_server.kill()
    worker.wait_for_log("database_away", timeout_s=30)
    postgres_server.start()

    wait_for(ann, generation_id, "completed", worker)
    assert worker.running
    items = postgres_service.house.items(generation_id)
    assert {(item.status, item.crashes) for item in items} == {("completed", 0)}
    assert len(postgres_service.house.pictures(generation_id)) == 12
    assert [entry.type for entry in postgres_service.house.entries(ann.id)] == ["bonus", "usage"]
    assert_every_row_has_its_files_and_nothing_else_stays(postgres_service)
    postgres_service.house.assert_books_balance()


def test_a_ghost_writes_nothing_over_what_was_drawn_without_it_and_then_draws_on(
    postgres_service: "Service",
) -> None:
    service = postgres_service
    (ghost,) = started(service, "fake:0.4")
    ann = service.customer("ann", credits=1000)
    generation_id = ann.order(4, 1)
    ghost.wait_for_log("engine.forward")
    ghost.send(signal.SIGSTOP)
    other = service.start_worker("other", "--device", "fake:0.01")
    wait_for(ann, generation_id, "completed", other)
    before = digests(service.folder / "var" / "storage")
    drawn = {(item.id, item.attempt, item.worker, item.finished_at) for item in service.house.items(generation_id)}
    assert {attempt for _id, attempt, _worker, _at in drawn} == {2}
    other.terminate()

    ghost.send(signal.SIGCONT)
    ghost.wait_for_log("claims.lost", timeout_s=30)
    second = ann.order(1, 1)
    wait_for(ann, second, "completed", ghost)

    after = digests(service.folder / "var" / "storage")
    assert before.items() <= after.items()
    assert {(item.id, item.attempt, item.worker, item.finished_at) for item in service.house.items(generation_id)} == (
        drawn
    )
    with service.database.reading() as session:
        its_name = session.scalars(select(WorkerRow.name).where(WorkerRow.pid == ghost.pid)).one()
    assert {item.worker for item in service.house.items(second)} == {its_name}
    assert_every_row_has_its_files_and_nothing_else_stays(service)
    service.house.assert_books_balance()


def test_a_picture_that_cannot_be_drawn_is_refunded_and_no_other_is_lost_to_it(sqlite_service: "Service") -> None:
    """NaN, black, too big for the memory: each alone or once more, then refunded; the worker and its batch go on."""
    (worker,) = started(sqlite_service, "fake:0.01:troubled")
    ann, bob = (sqlite_service.customer(name, credits=1000) for name in ("ann", "bob"))
    expected = {
        "nan": ("failed", "bad_picture"),
        "black": ("failed", "bad_picture"),
        "oom": ("failed", "out_of_memory"),
        "nan_once": ("completed", None),
        "crowded": ("completed", None),
    }

    orders = {}
    for kind in expected:
        orders[kind] = ann.order(1, 1, textPrompt=f"a woman in the rain, trouble-{kind}")
        bob.order(1, 1)
    for kind, (status, _code) in expected.items():
        wait_for(ann, orders[kind], status, worker)
    wait_until(lambda: {item.status for item in sqlite_service.house.items()} == {"completed", "failed"})

    codes = {kind: sqlite_service.house.items(generation_id)[0].error_code for kind, generation_id in orders.items()}
    assert codes == {kind: code for kind, (_status, code) in expected.items()}
    assert {item.attempt for item in sqlite_service.house.items()} == {1}
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000 - 2 * PRICE
    assert bob.get("/api/credits/balance")["data"]["balance"] == 1000 - 5 * PRICE
    assert worker.running
    sqlite_service.house.assert_books_balance()


def test_a_picture_that_kills_its_worker_is_given_up_after_three_alone_and_its_neighbours_are_drawn(
    postgres_service: "Service",
) -> None:
    service = postgres_service
    service._env["PROFILE"] = "tiny"  # so that orders are taken before a worker ever reported
    service.start_api()
    ann, bob = (service.customer(name, credits=1000) for name in ("ann", "bob"))
    poisoned = ann.order(1, 1, textPrompt="a woman in the rain, trouble-vanish")
    others = bob.order(3, 1)
    workers: list[RealProcess] = []

    def kept_running() -> bool:
        """Start another worker whenever the last one is gone, as a supervisor does; tell whether all is over."""
        if not workers or not workers[-1].running:
            workers.append(service.start_worker(f"worker-{len(workers)}", "--device", "fake:0.01:troubled"))
        return ann.status(poisoned) == "failed" and bob.status(others) == "completed"

    wait_until(kept_running, timeout_s=120, message=lambda: workers[-1].log)

    item = service.house.items(poisoned)[0]
    assert (item.error_code, item.alone_crashes) == ("crashed_worker", CRASHES_ALONE)
    assert {(other.status, other.alone_crashes) for other in service.house.items(others)} == {("completed", 0)}
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000
    assert bob.get("/api/credits/balance")["data"]["balance"] == 1000 - 3 * PRICE
    assert len(workers) <= CRASHES_ALONE + 2
    service.house.assert_books_balance()


def test_a_picture_that_breaks_the_card_is_given_up_and_its_neighbours_are_drawn(sqlite_service: "Service") -> None:
    """The card fails by itself first, for which nobody is blamed; then always when one picture is in a forward."""
    service = sqlite_service
    service._env["PROFILE"] = "tiny"
    service.start_api()
    ann, bob = (service.customer(name, credits=1000) for name in ("ann", "bob"))
    others = bob.order(3, 1, textPrompt="a man in the rain, trouble-lost")
    first = service.start_worker("worker-0", "--device", "fake:0.01:troubled")
    assert first.wait(timeout_s=60) == ExitCode.CARD_FAILED
    assert {(item.status, item.crashes) for item in service.house.items(others)} == {("queued", 0)}
    with service.database.writing() as session:
        session.execute(update(WorkItem).values(prompt="a man in the rain"))  # the card was changed

    poisoned = ann.order(1, 1, textPrompt="a woman in the rain, trouble-crash")
    codes: list[int] = []
    while ann.status(poisoned) != "failed" or bob.status(others) != "completed":
        worker = service.start_worker(f"worker-{len(codes) + 1}", "--device", "fake:0.01:troubled", "--burst")
        codes.append(worker.wait(timeout_s=60))

    assert set(codes[:-1]) == {int(ExitCode.CARD_FAILED)}
    assert len(codes) <= CRASHES_ALONE + 2
    item = service.house.items(poisoned)[0]
    assert (item.error_code, item.alone_crashes) == ("crashed_worker", CRASHES_ALONE)
    assert {(other.status, other.alone_crashes) for other in service.house.items(others)} == {("completed", 0)}
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000
    assert bob.get("/api/credits/balance")["data"]["balance"] == 1000 - 3 * PRICE
    service.house.assert_books_balance()
