"""Everybody at once over the same generations: nobody deadlocks, nothing is lost, and the books balance.

On PostgreSQL this proves the lock order (generation, items, pictures, project and pose, user); on SQLite that the one
writer at a time is waited for.
"""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic

from sqlalchemy import ColumnElement, select, text
from support.house import NOW, House, drawn
from support.waiting import wait_until

from posegen import ledger
from posegen.accounts import ProfileChanges, change_profile
from posegen.books import read_books
from posegen.database import Database
from posegen.errors import Conflict, NotFound
from posegen.favorites import mark_favorite
from posegen.finishing import cancel_generation, deliver_picture, fail_picture, mark_started
from posegen.idempotency import Repeatable, first_answer
from posegen.leases import Claim, Claimant, claim_items, give_back, renew_leases
from posegen.orders import Order, place_order
from posegen.queueing import Room
from posegen.recovery import return_lapsed
from posegen.retention import forget_generation
from posegen.retrying import retry_generation
from posegen.tables import GeneratedPicture, Generation, Project, WorkItem

HUNT_S = 2.5
MOST_S = 60.0
"""A hunt on a busy machine goes on so long, until everything that it is about has happened."""
LEASE_S = 0.05
WORKERS = ("w1", "w2", "w3", "w4")
"""All on record as dead, so that every lapse is a crash: suspects, lone drawing and giving up take part too."""


class Crowd:
    """Threads that do what workers, customers and reconcilers do, as fast as they can.

    Until the time is up and each of `wanted` happened.
    """

    def __init__(self, house: House, users: list[str], wanted: Sequence[str]) -> None:
        self.house = house
        self.users = users
        self.wanted = wanted
        self.began = monotonic()
        self.broken: list[BaseException] = []
        self.done = dict.fromkeys(
            (
                *("ordered", "claimed", "delivered", "failed", "cancelled", "requeued", "given_up", "renewed"),
                *("retried", "liked", "forgotten"),
            ),
            0,
        )
        self._counting = threading.Lock()

    def run(self, *roles: Callable[[random.Random], None]) -> None:
        threads = [threading.Thread(target=self._repeat, args=(role, seed)) for seed, role in enumerate(roles)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if self.broken:
            raise self.broken[0]

    def order(self, dice: random.Random) -> None:
        with self.house.database.writing() as session:
            user = dice.choice(self.users)
            project = session.scalars(select(Project.id).where(Project.user_id == user)).first()
            poses = dice.sample(self.house.pose_ids, 2)
            order = Order(project_id=project or "", pose_ids=tuple(poses), variations=2)
            place_order(session, user, order, profile_name="tiny", now=_now())
            self._count("ordered")

    def work(self, dice: random.Random) -> None:
        with self.house.database.writing() as session:
            claimant = Claimant(worker=dice.choice(WORKERS), profile="tiny", lease_s=LEASE_S)
            claims = claim_items(session, claimant, Room(free_rows=4), now=_now())
        self._count("claimed", len(claims))
        dice.shuffle(claims)
        for claim in claims:
            self._finish(claim, dice)

    def renew(self, dice: random.Random) -> None:
        with self.house.database.writing() as session:
            drawing = session.execute(
                select(WorkItem.id, WorkItem.attempt).where(WorkItem.status == "drawing").limit(8)
            )
            held = [(row[0], row[1]) for row in drawing]
            dice.shuffle(held)
            self._count("renewed", len(renew_leases(session, held, lease_s=LEASE_S, now=_now())))

    def cancel(self, dice: random.Random) -> None:
        with self.house.database.reading() as session:
            some = session.execute(
                select(Generation.id, Generation.user_id).where(Generation.status == "processing").limit(20)
            ).all()
        if some and dice.random() < 0.3:
            generation_id, user_id = dice.choice(some)
            with suppress(Conflict), self.house.database.writing() as session:
                cancel_generation(session, generation_id, user_id, now=_now())
                self._count("cancelled")

    def recover(self, _: random.Random) -> None:
        with self.house.database.writing() as session:
            done = return_lapsed(session, witness_since=NOW - timedelta(days=9), now=_now())
        self._count("requeued", done.requeued)
        self._count("given_up", done.failed)

    def retry(self, dice: random.Random) -> None:
        """Customers retry what failed, and retries of it, again and again."""
        asked = self._some(dice, Generation.poses_failed > 0, Generation.status != "processing")
        if asked is not None:
            with suppress(Conflict, NotFound), self.house.database.writing() as session:
                retry_generation(session, asked[1], asked[0], profile_name="tiny", now=_now())
                self._count("retried")

    def like(self, dice: random.Random) -> None:
        with self.house.database.reading() as session:
            pictures = select(GeneratedPicture.id, GeneratedPicture.user_id).order_by(GeneratedPicture.created_at)
            some = session.execute(pictures.limit(20)).all()
        if some:
            picture_id, user_id = dice.choice(some)
            with suppress(NotFound), self.house.database.writing() as session:
                mark_favorite(session, user_id, picture_id, is_favorite=dice.random() < 0.3)
                self._count("liked")

    def forget(self, dice: random.Random) -> None:
        old = self._some(dice, Generation.status != "processing")
        if old is not None and dice.random() < 0.5:
            with self.house.database.writing() as session:
                keys = forget_generation(session, old[0], before=_now())
            self._count("forgotten", int(keys is not None))

    def _some(self, dice: random.Random, *conditions: ColumnElement[bool]) -> tuple[str, str] | None:
        with self.house.database.reading() as session:
            found = select(Generation.id, Generation.user_id).where(*conditions).limit(20)
            rows = session.execute(found).all()
        if not rows:
            return None
        generation_id, user_id = dice.choice(rows)
        return generation_id, user_id

    def _finish(self, claim: Claim, dice: random.Random) -> None:
        what = dice.random()
        with self.house.database.writing() as session:
            if what < 0.6:
                self._count("delivered", int(deliver_picture(session, claim, drawn(claim), now=_now())))
            elif what < 0.75:
                self._count("failed", int(fail_picture(session, claim, code="c", message="m", now=_now())))
            elif what < 0.85:
                mark_started(session, claim.generation_id, now=_now())
            elif what < 0.95:
                give_back(session, claim.item_id, claim.attempt, now=_now())

    def _repeat(self, role: Callable[[random.Random], None], seed: int) -> None:
        dice = random.Random(seed)
        try:
            while self._goes_on():
                role(dice)
        except BaseException as error:
            self.broken.append(error)

    def _goes_on(self) -> bool:
        lasted_s = monotonic() - self.began
        is_done = lasted_s > HUNT_S and all(self.done[what] for what in self.wanted)
        return not self.broken and not is_done and lasted_s < MOST_S

    def _count(self, what: str, number: int = 1) -> None:
        with self._counting:
            self.done[what] += number


def _now() -> datetime:
    return datetime.now(UTC)


def hunt(house: House, *wanted: str) -> dict[str, int]:
    users = ["ann", "bob"]
    for user in users:
        house.customer(user, credits=10_000_000)
        house.project(user)
    for name in WORKERS:
        house.worker(name, heard=_now() - timedelta(minutes=1))
    crowd = Crowd(house, users, wanted)
    work, recover = crowd.work, crowd.recover
    crowd.run(
        *(crowd.order, crowd.order, work, work, work, work, crowd.cancel, crowd.renew, recover, recover),
        *(crowd.retry, crowd.retry, crowd.like, crowd.forget, crowd.forget),
    )
    house.assert_books_balance()
    assert [str(one) for one in read_books(house.database).disagreements] == []
    return crowd.done


def test_a_crowd_on_postgresql_never_deadlocks(postgres_house: House) -> None:
    wanted = ("ordered", "claimed", "delivered", "requeued", "renewed", "retried", "liked", "forgotten")

    done = hunt(postgres_house, *wanted)

    assert all(done[what] for what in wanted), done


def test_a_new_email_waits_for_an_order_of_its_customer_instead_of_deadlocking(postgres_house: House) -> None:
    """Every row that names a customer keeps the e-mail from changing: it is unique, so rows could name it too."""
    house = postgres_house
    house.customer(credits=100)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def change_email() -> None:
        with house.database.writing() as session:
            change_profile(session, "ann", ProfileChanges(email="new@example.com"), now=NOW)

    with ThreadPoolExecutor(1) as pool, house.database.writing() as session:
        repeatable = Repeatable(user_id="ann", key="k", call="generate", asked={})
        assert first_answer(session, repeatable, now=NOW) is None  # the first thing that an order writes
        changing = pool.submit(change_email)
        with house.database.reading() as other:
            wait_until(lambda: bool(other.execute(waiting).scalar_one()))
        ledger.charge(session, "ann", 30, reference="r", part="order", description="d", now=NOW)  # the last
        session.commit()
        changing.result(30)

    assert house.balance("ann") == 70


def test_a_crowd_on_sqlite_waits_its_turn(sqlite_url: str) -> None:
    database = Database(sqlite_url, pool_size=20)
    try:
        done = hunt(House(database), "ordered", "claimed")
    finally:
        database.close()

    assert done["ordered"], done
    assert done["claimed"], done
