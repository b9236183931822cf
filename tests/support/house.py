"""A small house for the domain's tests: customers with credits, poses, orders, workers; each call commits."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import func, select

from posegen import ledger, projects, quota, workforce
from posegen.database import Database
from posegen.finishing import DrawnPicture, StoredFile, deliver_picture, fail_picture
from posegen.leases import Claim, Claimant, claim_items
from posegen.orders import Order, PlacedOrder, place_order
from posegen.queueing import Room
from posegen.statuses import WorkerStatus
from posegen.tables import (
    GeneratedPicture,
    Generation,
    LedgerEntry,
    LibraryPose,
    PoseCategory,
    User,
    UserEvent,
    WorkerRow,
    WorkItem,
)

Answer = TypeVar("Answer")

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SIZE = (128, 128)
PEOPLE = {"people": [{"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}], "canvas_width": 1, "canvas_height": 1}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class House:
    """Builds rows and asks about them. Everything happens at NOW unless a time is given."""

    def __init__(self, database: Database, *, poses: int = 4, lease_s: float = 20) -> None:
        self.database = database
        self.lease_s = lease_s
        with database.writing() as session:
            shelf = PoseCategory(
                slug="standing", name="standing", display_name="Standing", created_at=NOW, updated_at=NOW
            )
            session.add(shelf)
            session.flush()
            rows = [
                LibraryPose(
                    slug=f"pose-{number}",
                    name=f"Pose {number}",
                    description=f"standing in the way number {number}",
                    category_id=shelf.id,
                    people=PEOPLE,
                    difficulty="beginner",
                    gender_suitability="unisex",
                    tags=["standing"],
                    created_at=NOW,
                    updated_at=NOW,
                )
                for number in range(poses)
            ]
            session.add_all(rows)
            session.flush()
            self.pose_ids = [row.id for row in rows]

    def customer(self, user_id: str = "ann", *, credits: int = 100_000, since: datetime = NOW) -> str:
        """A user with credits and a project of the same name."""
        with self.database.writing() as session:
            session.add(User(id=user_id, email=f"{user_id}@example.com", created_at=since, updated_at=since))
            session.flush()
            if credits:
                ledger.grant(session, user_id, credits, description="for tests", now=NOW)
        return user_id

    def subscribe(self, user_id: str, *, last_day: date = date(2999, 12, 31), a_day: int = 100) -> None:
        """Put a customer in the unlimited tier."""
        with self.database.writing() as session:
            quota.subscribe(session, session.get_one(User, user_id), last_day=last_day, daily_quota=a_day, now=NOW)

    def project(self, user_id: str) -> str:
        with self.database.writing() as session:
            made = projects.create_project(
                session, user_id, name=f"{user_id}'s", description=None, avatar_image_url=None, now=NOW
            )
            return made.id

    def order(
        self,
        user_id: str,
        pictures: int = 4,
        *,
        now: datetime = NOW,
        size: tuple[int, int] = SIZE,
        key: str | None = None,
        **asked: Any,
    ) -> PlacedOrder:
        """Place an order of so many pictures of as few poses as possible."""
        with self.database.reading() as session:
            project_id = session.scalar(select(projects.Project.id).where(projects.Project.user_id == user_id).limit(1))
        project_id = project_id or self.project(user_id)
        variations = next(
            count for count in (6, 5, 4, 3, 2, 1) if pictures % count == 0 and pictures // count <= len(self.pose_ids)
        )
        asked.setdefault("pose_ids", tuple(self.pose_ids[: pictures // variations]))
        order = Order(project_id=project_id, variations=variations, width_px=size[0], height_px=size[1], **asked)
        with self.database.writing() as session:
            return place_order(session, user_id, order, profile_name="tiny", idempotency_key=key, now=now)

    def claim(
        self,
        rows: int = 4,
        *,
        worker: str = "w1",
        size_px: tuple[int, int] | None = None,
        now: datetime = NOW,
        lease_s: float | None = None,
        profile: str = "tiny",
        follows_poses: bool = True,
    ) -> list[Claim]:
        with self.database.writing() as session:
            lease_s = lease_s or self.lease_s
            claimant = Claimant(worker=worker, profile=profile, lease_s=lease_s, follows_poses=follows_poses)
            return claim_items(session, claimant, Room(free_rows=rows, size_px=size_px), now=now)

    def deliver(self, claim: Claim, *, now: datetime = NOW) -> bool:
        with self.database.writing() as session:
            return deliver_picture(session, claim, drawn(claim), now=now)

    def fail(self, claim: Claim, *, now: datetime = NOW) -> bool:
        with self.database.writing() as session:
            return fail_picture(session, claim, code="bad_picture", message="It could not be drawn.", now=now)

    def worker(
        self,
        name: str = "w1",
        *,
        heard: datetime = NOW,
        status: WorkerStatus = WorkerStatus.READY,
        profile: str = "tiny",
        pictures_per_s: float | None = None,
        process: str | None = None,
        capabilities: dict[str, Any] | None = None,
    ) -> None:
        """A worker that reported at `heard`."""
        said = workforce.WorkerReport(
            name=name,
            host="here",
            pid=1,
            device="cpu",
            device_name=None,
            profile=profile,
            status=status,
            max_batch=4,
            pictures_per_s=pictures_per_s,
            process=process,
            capabilities=capabilities or {},
        )
        with self.database.writing() as session:
            workforce.report(session, said, now=heard)

    def worker_dies(self, process: str, *, now: datetime = NOW) -> None:
        """A neighbour on the machine sees that a process is gone."""
        with self.database.writing() as session:
            workforce.note_deaths(session, is_gone=lambda told: told == process, now=now)

    def generation(self, generation_id: str) -> Generation:
        with self.database.reading() as session:
            return session.get_one(Generation, generation_id)

    def items(self, generation_id: str | None = None) -> Sequence[WorkItem]:
        with self.database.reading() as session:
            rows = select(WorkItem).order_by(WorkItem.id)
            return session.scalars(
                rows if generation_id is None else rows.where(WorkItem.generation_id == generation_id)
            ).all()

    def workers(self) -> Sequence[WorkerRow]:
        """Every worker that ever reported."""
        with self.database.reading() as session:
            return session.scalars(select(WorkerRow)).all()

    def item(self, item_id: str) -> WorkItem:
        with self.database.reading() as session:
            return session.get_one(WorkItem, item_id)

    def pictures(self, generation_id: str) -> Sequence[GeneratedPicture]:
        with self.database.reading() as session:
            return session.scalars(
                select(GeneratedPicture).where(GeneratedPicture.generation_id == generation_id)
            ).all()

    def balance(self, user_id: str) -> int:
        with self.database.reading() as session:
            return ledger.balance_of(session, user_id)

    def entries(self, user_id: str) -> Sequence[LedgerEntry]:
        with self.database.reading() as session:
            return session.scalars(select(LedgerEntry).where(LedgerEntry.user_id == user_id)).all()

    def events(self, user_id: str) -> Sequence[UserEvent]:
        with self.database.reading() as session:
            return session.scalars(
                select(UserEvent).where(UserEvent.user_id == user_id).order_by(UserEvent.event_id)
            ).all()

    def count(self, table: type[Any]) -> int:
        with self.database.reading() as session:
            return session.execute(select(func.count()).select_from(table)).scalar_one()

    def assert_books_balance(self, *, beside_api: bool = False) -> None:
        """Entries, balances, charges, refunds, quotas, counters, items, pictures and event numbers agree.

        beside_api: an API runs on these rows; by its clock events made at NOW are over a day old, and it deletes them.
        """
        with self.database.reading() as session:
            for user in session.scalars(select(User)):
                entries = session.scalars(select(LedgerEntry).where(LedgerEntry.user_id == user.id)).all()
                assert user.credit_balance == sum(entry.amount_credits for entry in entries)
                numbers = session.scalars(
                    select(UserEvent.event_id).where(UserEvent.user_id == user.id).order_by(UserEvent.event_id)
                ).all()
                first = user.event_counter + 1 - len(numbers) if beside_api else 1
                assert list(numbers) == list(range(first, user.event_counter + 1))
                if user.quota_day is not None:
                    theirs = session.scalars(select(Generation).where(Generation.user_id == user.id)).all()
                    assert user.quota_used == sum(
                        generation.quota_charged - generation.poses_failed - generation.poses_cancelled
                        for generation in theirs
                        if generation.unlimited and generation.quota_day == user.quota_day
                    )
            for generation in session.scalars(select(Generation)):
                entries = session.scalars(select(LedgerEntry).where(LedgerEntry.reference == generation.id)).all()
                charged = -sum(entry.amount_credits for entry in entries if entry.type == "usage")
                refunded = sum(entry.amount_credits for entry in entries if entry.type == "refund")
                assert (generation.credit_charged, generation.credit_refunded) == (charged, refunded)
                assert generation.quota_charged == (generation.total_expected_poses if generation.unlimited else 0)
                items = session.scalars(select(WorkItem).where(WorkItem.generation_id == generation.id)).all()
                by_status = {
                    status: [i for i in items if i.status == status] for status in ("completed", "failed", "cancelled")
                }
                assert len(items) == generation.total_expected_poses
                assert generation.poses_completed == len(by_status["completed"])
                assert generation.poses_failed == len(by_status["failed"])
                assert generation.poses_cancelled == len(by_status["cancelled"])
                refundable = [*by_status["failed"], *by_status["cancelled"]]
                assert refunded == sum(item.price_credits for item in refundable)
                pictures = session.scalars(
                    select(GeneratedPicture).where(GeneratedPicture.generation_id == generation.id)
                )
                final = {picture.work_item_id: picture.status for picture in pictures}
                assert final == {item.id: item.status for item in items if item.status in ("completed", "failed")}


def drawn(claim: Claim, *, worker: str = "w1") -> DrawnPicture:
    """What a worker hands in for a claim."""
    stem = f"pictures/{claim.item_id}-{claim.attempt}"
    return DrawnPicture(
        output=StoredFile(key=f"{stem}.png", content_type="image/png", size_bytes=1000),
        thumbnail=StoredFile(key=f"{stem}.webp", content_type="image/webp", size_bytes=100),
        backend="tiny",
        pose_applied=True,
        licence="Apache-2.0",
        generation_time_s=1.5,
        worker=worker,
        pose_score=0.875,
    )


def all_at_once(tasks: Sequence[Callable[[], Answer]], *, timeout_s: float = 60.0) -> list[Answer | BaseException]:
    """Run the tasks in a thread each, past one barrier; return their answers, or what they raised, in order."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], Answer]) -> Answer | BaseException:
        barrier.wait(timeout_s)
        try:
            return task()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks, timeout=timeout_s))
