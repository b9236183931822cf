"""A worker's parts put together in this process, around the torch-free engine: real SQL, real Redis, real files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.house import House

from gpu_worker.desk import Desk
from gpu_worker.engine_thread import EngineThread
from gpu_worker.finisher import Finisher
from gpu_worker.hands import Hands
from gpu_worker.judging import Judge
from gpu_worker.keeper import Keeper
from gpu_worker.meter import Meter
from gpu_worker.redrawing import Redrawing
from gpu_worker.shared_detector import SharedDetector
from models.detectors.people import PoseDetector
from models.fake import FakeEngine
from models.profiles import TINY
from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import Database
from posegen.leases import Claimant
from posegen.statuses import WorkerStatus
from posegen.storage import Links, Storage
from posegen.workforce import WorkerReport


@dataclass
class Bench:
    """Everything a worker process has, but for the process."""

    house: House
    announcer: Announcer
    storage: Storage
    storage_dir: Path
    desk: Desk
    meter: Meter
    engine: FakeEngine
    finisher: Finisher
    thread: EngineThread
    hands: Hands
    keeper: Keeper

    def stored(self) -> list[str]:
        """The files of generations that are in the store."""
        return sorted(str(file.relative_to(self.storage_dir)) for file in self.storage_dir.rglob("*") if file.is_file())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def bell(redis_url: str) -> Iterator[Bell]:
    made = Bell(redis_url)
    yield made
    made.close()


@pytest.fixture
def bench(database: Database, bell: Bell, tmp_path: Path) -> Iterator[Bench]:
    """A bench whose engine takes 5 ms a step; its thread is not started yet."""
    with bench_around(FakeEngine(TINY, 4, 0.005), database, bell, tmp_path) as made:
        yield made


@contextmanager
def bench_around(
    engine: Any,
    database: Database,
    bell: Bell,
    folder: Path,
    *,
    follows_poses: bool = True,
    detector: PoseDetector | None = None,
    redraw_below: float = 0.0,
) -> Iterator[Bench]:
    """Put a bench together around any engine; ann and bob are customers of its house. detector: judges its pictures."""
    house = House(database)
    house.customer("ann")
    house.customer("bob")
    announcer = Announcer(database, bell, Links("s" * 40, life_s=3600))
    storage_dir = folder / "storage"
    storage = Storage(storage_dir)
    desk = Desk()
    meter = Meter()
    judge = None
    if detector is not None:
        shared = SharedDetector(detector.name, lambda: detector, device="cpu")
        judge = Judge(shared, on_card_failure=lambda error: thread.fail(error))
        judge.start()
    thread: EngineThread
    finisher = Finisher(
        *(announcer, storage, desk),
        worker="w1",
        profile=TINY,
        store_s=0.5,
        judge=judge,
        redrawing=Redrawing(desk, engine.submit, lambda: thread.wake(), below=redraw_below),
    )
    thread = EngineThread(engine, desk, meter, finisher.take)
    claimant = Claimant(worker="w1", profile="tiny", lease_s=20, follows_poses=follows_poses)
    hands = Hands(announcer, claimant, desk, thread, finisher)

    def state() -> WorkerReport:
        return WorkerReport(
            name="w1",
            host="here",
            pid=1,
            device="fake",
            device_name=None,
            profile="tiny",
            status=WorkerStatus.READY,
            max_batch=4,
            pictures_per_s=meter.pictures_per_s(),
        )

    keeper = Keeper(database, state, lease_s=20)
    yield Bench(house, announcer, storage, storage_dir, desk, meter, engine, finisher, thread, hands, keeper)
    hands.begin_drain()
    thread.stop()
    if thread.is_alive():
        thread.join(10)
    finisher.close()
    assert judge is None or judge.end(within_s=10)
    keeper.end()
    if keeper.is_alive():
        keeper.join(10)
