"""The end-to-end cell of `bench_gpu.py`: orders in a database, a real worker around the measured engine, PNGs on disk.

A private Redis, SQLite with the service's tables, one customer with a full queue, and the worker's own process code in
this process, which claims, encodes prompts and poses, draws, decodes, writes PNG and thumbnail, and commits. Compared
is the rate from the end of the first batch to the end of the last picture: a full queue, without coming and going.
"""

import secrets
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import structlog
from gpu_timing import CellFailed
from gpu_work import Size
from sqlalchemy import select

from gpu_worker.engine_choice import LoadedEngine
from gpu_worker.process import Options, WorkerProcess
from models.devices import device_title
from models.inflight import InflightEngine
from posegen import ledger
from posegen.database import Database, database_now
from posegen.library import seed_library
from posegen.migrating import migrate
from posegen.orders import Order, place_order
from posegen.poses.library_files import read_library
from posegen.private_redis import PrivateRedis
from posegen.projects import create_project
from posegen.settings import Settings
from posegen.storage import Storage
from posegen.tables import GeneratedPicture, LibraryPose, User

CUSTOMER = "bench"
POSES = 4
VARIATIONS = 4
ORDER_PICTURES = POSES * VARIATIONS
CREDITS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """What the worker delivered. pictures_per_s: from the end of the first batch to the end of the last picture."""

    pictures: int
    pictures_per_s: float
    png_bytes: int
    steps: int


def end_to_end(engine: InflightEngine, size: Size, orders: int, *, steps: int) -> EndToEnd:
    """Let a worker draw so many orders of 16 pictures with this engine. Call in the main thread.

    steps: of every picture. Raises CellFailed when not every picture was delivered, RedisServerMissing.
    """
    with _ground(engine) as (settings, database):
        _order(database, Storage(settings.storage_dir), engine.profile.name, size, orders, steps=steps)
        device = str(engine.runner.device)
        loaded = LoadedEngine(engine=engine, device=device, device_name=device_title(engine.runner.device))
        options = Options(device=device, profile=engine.profile.name, burst=True)
        with (settings.var_dir / "worker.log").open("w") as log, _logging_to(log):
            WorkerProcess(options, settings, opens=lambda _options, _settings: loaded).run()
        return _delivered(database, settings.storage_dir, first=engine.max_batch, steps=steps)


@contextmanager
def _ground(engine: InflightEngine) -> Iterator[tuple[Settings, Database]]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with tempfile.TemporaryDirectory(prefix="posegen-bench-") as folder:
        redis = PrivateRedis(Path(folder) / "redis")
        redis.start()
        try:
            settings = Settings(
                _env_file=None,
                jwt_secret=secrets.token_hex(32),
                var_dir=Path(folder) / "var",
                database_url=f"sqlite:///{folder}/posegen.db",
                redis_url=redis.url,
                profile=engine.profile.name,
                previews=False,
            )
            database = Database(settings.sql_url)
            try:
                migrate(database)
                yield settings, database
            finally:
                database.close()
        finally:
            redis.stop()
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _logging_to(file: TextIO) -> Iterator[None]:
    """Keep the worker's log out of what the bench prints."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file))
    try:
        yield
    finally:
        structlog.configure(**before)


def _order(database: Database, storage: Storage, profile: str, size: Size, orders: int, *, steps: int) -> None:
    library = read_library()
    with database.writing() as session:
        now = database_now(session)
        # Drawing the previews of the whole library takes a while.
        seed_library(session, storage, replace(library, poses=library.poses[:POSES]), now=now)
        session.add(User(id=CUSTOMER, email="bench@example.com", created_at=now, updated_at=now))
        session.flush()
        ledger.grant(session, CUSTOMER, CREDITS, description="to be measured", now=now)
        project = create_project(session, CUSTOMER, name="bench", description=None, avatar_image_url=None, now=now)
        poses = tuple(session.scalars(select(LibraryPose.id)))
        for _ in range(orders):
            order = Order(
                project_id=project.id,
                pose_ids=poses,
                variations=VARIATIONS,
                width_px=size[0],
                height_px=size[1],
                steps=steps,
            )
            place_order(session, CUSTOMER, order, profile_name=profile, idempotency_key=None, now=now)


def _delivered(database: Database, storage: Path, *, first: int, steps: int) -> EndToEnd:
    with database.reading() as session:
        pictures = session.scalars(select(GeneratedPicture).order_by(GeneratedPicture.created_at)).all()
        lost = [picture.error_message for picture in pictures if picture.output_key is None]
        ends = [picture.created_at.timestamp() for picture in pictures]
        keys = [picture.output_key for picture in pictures if picture.output_key is not None]
    if lost or len(ends) <= first:
        raise CellFailed(f"{len(lost)} of {len(ends)} pictures were not delivered: {next(iter(lost), 'too few')}")
    return EndToEnd(
        pictures=len(ends),
        pictures_per_s=(len(ends) - first) / (ends[-1] - ends[first - 1]),
        png_bytes=sum((storage / key).stat().st_size for key in keys) // len(keys),
        steps=steps,
    )
