"""Everything that may happen to money and pictures, in any order, as a state machine that hypothesis drives.

After every step the books must agree, and every balance must be what a few lines of arithmetic here say it is: they
know nothing of the rows. Claims are kept for ever, so a worker whose lease was taken over, whose picture was cancelled
or whose generation was forgotten tries to write like any other. tests/ runs it shortly, prove_money.py for long.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from posegen import ledger, quota
from posegen.books import disagreements
from posegen.database import Database
from posegen.errors import Conflict, IdempotencyMismatch, NotEnoughCredits, NotFound, QuotaExceeded
from posegen.finishing import DrawnPicture, StoredFile, cancel_generation, deliver_picture, fail_picture, mark_started
from posegen.leases import Claim, Claimant, claim_items, give_back, renew_leases
from posegen.orders import Order, PlacedOrder, place_order
from posegen.projects import create_project
from posegen.queueing import Room
from posegen.recovery import return_lapsed
from posegen.retention import forget_generation
from posegen.retrying import retry_generation
from posegen.statuses import ItemStatus, WorkerStatus
from posegen.tables import Generation, LibraryPose, PoseCategory, User, WorkItem
from posegen.workforce import WorkerReport, report

Fresh = Callable[[], AbstractContextManager[Database]]
"""Yields a migrated, empty database, and closes it."""
BEGIN = datetime(2026, 11, 24, 12, tzinfo=UTC)
USERS = ("ann", "bob")
WORKERS = ("w1", "w2")
LEASE_S = 20
PRICE = 30
FIRST_CREDITS = 300
PEOPLE = {"people": [{"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}], "canvas_width": 1, "canvas_height": 1}
REFUSED = (NotEnoughCredits, QuotaExceeded, IdempotencyMismatch, Conflict)
_users, _workers = st.sampled_from(USERS), st.sampled_from(WORKERS)
_some = st.integers(0, 40)
_keys = st.none() | st.sampled_from(("k1", "k2"))


class MoneyMachine(RuleBasedStateMachine):
    """Two customers and two workers. `fresh` says on which database."""

    fresh: ClassVar[Fresh]
    steps: ClassVar[Counter[str]] = Counter()
    """How often each step was taken, over all examples of the process, and how many `examples` and `steps` there were.

    Counted, for Hypothesis begins examples that it does not go on with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.database = self._stack.enter_context(type(self).fresh())
        self.now = BEGIN
        self.claims: list[Claim] = []
        self.generations: list[str] = []
        self.owners: dict[str, str] = {}
        self.balances = dict.fromkeys(USERS, FIRST_CREDITS)
        self.ended: set[str] = set()
        self.answers: dict[tuple[str, str], PlacedOrder] = {}
        self.pose_ids, self.projects = _furnish(self.database)
        self.checks = 0

    @rule(user=_users, credits=st.sampled_from((30, 60, 200)))
    def grant(self, user: str, credits: int) -> None:
        """An operator gives credits."""
        with self._writing("grant") as session:
            ledger.grant(session, user, credits, description="a gift", now=self.now)
        self.balances[user] += credits

    @rule(user=_users, days=st.integers(-1, 2), a_day=st.integers(1, 6))
    def subscribe(self, user: str, days: int, a_day: int) -> None:
        """An operator changes the unlimited tier."""
        with self._writing("subscribe") as session:
            last_day = (self.now + timedelta(days=days)).date()
            row = session.get_one(User, user)
            quota.subscribe(session, row, last_day=last_day, daily_quota=a_day, now=self.now)

    @rule(user=_users, pictures=st.integers(1, 4), key=_keys)
    def order(self, user: str, pictures: int, key: str | None) -> None:
        """A customer orders."""
        asked = Order(project_id=self.projects[user], pose_ids=(self.pose_ids[0],), variations=pictures)
        self._spend(
            "order",
            user,
            key,
            lambda session: place_order(session, user, asked, profile_name="tiny", idempotency_key=key, now=self.now),
        )

    @precondition(lambda self: self.generations)
    @rule(which=_some, key=_keys)
    def retry(self, which: int, key: str | None) -> None:
        """A customer retries a generation."""
        generation_id = self._generation(which)
        user = self.owners[generation_id]
        self._spend(
            "retry",
            user,
            key,
            lambda session: retry_generation(
                session, user, generation_id, profile_name="tiny", idempotency_key=key, now=self.now
            ),
        )

    @rule(worker=_workers, rows=st.integers(1, 4))
    def claim(self, worker: str, rows: int) -> None:
        """A worker asks for pictures."""
        with self._writing("claim") as session:
            claimant = Claimant(worker=worker, profile="tiny", lease_s=LEASE_S)
            self.claims += claim_items(session, claimant, Room(free_rows=rows), now=self.now)

    @rule(worker=_workers, outcomes=st.lists(st.sampled_from("dfo"), min_size=1, max_size=4))
    def work(self, worker: str, outcomes: list[str]) -> None:
        """A worker claims pictures and delivers, fails or leaves each."""
        before = len(self.claims)
        self.claim(worker, len(outcomes))
        for claim, outcome in zip(self.claims[before:], outcomes, strict=False):
            if outcome != "o":
                self._finish(claim, delivers=outcome == "d")

    @rule(seen=st.booleans(), taken_over=st.booleans(), delivers=st.booleans())
    def sleep_through(self, seen: bool, taken_over: bool, delivers: bool) -> None:
        """A worker is stopped past its leases, another may take over, and then it goes on as if nothing had been."""
        before = len(self.claims)
        self.claim("w1", 2)
        ghosts = self.claims[before:]
        self.wait(LEASE_S + 20, set())
        self.recover(seen)
        if taken_over:
            self.claim("w2", 2)
        for ghost in ghosts:
            self._finish(ghost, delivers=delivers)

    @precondition(lambda self: self.claims)
    @rule(which=_some)
    def start(self, which: int) -> None:
        """A worker says that drawing has begun."""
        claim = self._claim(which)
        with self._writing("start") as session:
            mark_started(session, claim.generation_id, now=self.now)

    @precondition(lambda self: self.claims)
    @rule(which=_some)
    def deliver(self, which: int) -> None:
        """Whoever ever held a picture delivers it."""
        self._finish(self._claim(which), delivers=True)

    @precondition(lambda self: self.claims)
    @rule(which=_some)
    def fail(self, which: int) -> None:
        """Whoever ever held a picture fails it."""
        self._finish(self._claim(which), delivers=False)

    @precondition(lambda self: self.claims)
    @rule(which=_some)
    def renew(self, which: int) -> None:
        """Whoever ever held a picture prolongs its lease."""
        claim = self._claim(which)
        with self._writing("renew") as session:
            renew_leases(session, [(claim.item_id, claim.attempt)], lease_s=LEASE_S, now=self.now)

    @precondition(lambda self: self.claims)
    @rule(which=_some)
    def give_back(self, which: int) -> None:
        """Whoever ever held a picture gives it back."""
        claim = self._claim(which)
        with self._writing("give_back") as session:
            give_back(session, claim.item_id, claim.attempt, now=self.now)

    @rule(seen=st.booleans())
    def recover(self, seen: bool) -> None:
        """A round; with `seen` by a witness that saw the workers fall silent."""
        again = True
        while again:
            with self._refunding("recover", list(self.generations)) as session:
                done = return_lapsed(session, witness_since=BEGIN if seen else None, now=self.now)
            again = bool(done.failed)

    @rule(seconds=st.sampled_from((1, 8, 21, 21, 60, 7 * 3600)), speaking=st.sets(_workers))
    def wait(self, seconds: int, speaking: set[str]) -> None:
        """Time passes; some workers give a sign of life at its end."""
        self.now += timedelta(seconds=seconds)
        for worker in sorted(speaking):
            with self._writing("heartbeat") as session:
                report(session, _sign_of_life(worker), now=self.now)
        type(self).steps["wait"] += 1

    @precondition(lambda self: self.generations)
    @rule(which=_some)
    def cancel(self, which: int) -> None:
        """A customer stops a generation."""
        generation_id = self._generation(which)
        try:
            with self._refunding("cancel", [generation_id]) as session:
                cancel_generation(session, generation_id, self.owners[generation_id], now=self.now)
        except Conflict:
            type(self).steps["cancel refused"] += 1

    @precondition(lambda self: self.generations)
    @rule(which=_some)
    def forget(self, which: int) -> None:
        """The retention forgets a generation, if it may."""
        generation_id = self._generation(which)
        with self._writing("forget") as session:
            gone = forget_generation(session, generation_id, before=self.now + timedelta(seconds=1)) is not None
        if gone:
            self.generations.remove(generation_id)
            del self.owners[generation_id]

    @invariant()
    def the_books_agree(self) -> None:
        """No promise is broken."""
        self.checks += 1
        with self.database.snapshot() as connection:
            assert [str(one) for one in disagreements(connection)] == []

    @invariant()
    def the_balances_are_what_was_granted_ordered_and_given_back(self) -> None:
        """Every balance is what the arithmetic here says."""
        with self.database.reading() as session:
            assert {user: ledger.balance_of(session, user) for user in USERS} == self.balances

    def teardown(self) -> None:
        """Close the database, and count the example if it took a step: the books are checked before the first too."""
        self._stack.close()
        if self.checks > 1:
            type(self).steps["examples"] += 1
            type(self).steps["steps"] += self.checks - 1

    def _spend(self, step: str, user: str, key: str | None, spend: Callable[[Any], PlacedOrder]) -> None:
        """Place an order of either kind; its answer is either a new one, or that of the same key."""
        try:
            with self._writing(step) as session:
                placed = spend(session)
        except (*REFUSED, NotFound):
            type(self).steps[f"{step} refused"] += 1
            return
        kept = self.answers.get((user, key)) if key is not None else None
        if kept is not None:
            assert placed == kept, "a key was answered differently"
            return
        if key is not None:
            self.answers[user, key] = placed
        assert placed.generation_id not in self.owners
        assert placed.quota_charged + placed.credits_charged // PRICE == placed.total_pictures
        self.generations.append(placed.generation_id)
        self.owners[placed.generation_id] = user
        self.balances[user] -= placed.credits_charged

    def _finish(self, claim: Claim, *, delivers: bool) -> None:
        with self.database.reading() as session:
            item = session.get(WorkItem, claim.item_id)
            held = item is not None and (item.status, item.attempt) == (ItemStatus.DRAWING, claim.attempt)
        if delivers:
            with self._writing("deliver") as session:
                won = deliver_picture(session, claim, _drawn(claim), now=self.now)
        else:
            known = [claim.generation_id] if claim.generation_id in self.owners else []
            with self._refunding("fail", known) as session:
                won = fail_picture(session, claim, code="black", message="It came out black.", now=self.now)
        assert won == held, "a stale write was accepted, or a good one refused"
        if won:
            assert claim.generation_id in self.owners, "a picture of a forgotten generation"
            assert claim.item_id not in self.ended, "a picture ended twice"
            self.ended.add(claim.item_id)
        type(self).steps["won" if won else "came too late"] += 1

    def _claim(self, which: int) -> Claim:
        return self.claims[-1 - which % len(self.claims)]

    def _generation(self, which: int) -> str:
        return self.generations[-1 - which % len(self.generations)]

    def _writing(self, step: str) -> AbstractContextManager[Any]:
        type(self).steps[step] += 1
        return self.database.writing()

    def _refunding(self, step: str, generation_ids: list[str]) -> "_Refunding":
        type(self).steps[step] += 1
        return _Refunding(self, generation_ids)


class _Refunding:
    """A transaction that may give credits back: the model learns how many pictures ended undelivered, and their price.

    It counts pictures, not credits, and pays for each what one cost when it was ordered.
    """

    def __init__(self, machine: MoneyMachine, generation_ids: list[str]) -> None:
        self._machine = machine
        self._ids = generation_ids

    def __enter__(self) -> Any:
        self._before = self._undelivered()
        self._open = self._machine.database.writing()
        return self._open.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        swallowed = self._open.__exit__(*error)
        for generation_id, (undelivered, price) in self._undelivered().items():
            more = undelivered - self._before[generation_id][0]
            self._machine.balances[self._machine.owners[generation_id]] += more * price
        return swallowed

    def _undelivered(self) -> dict[str, tuple[int, int]]:
        with self._machine.database.reading() as session:
            rows = [session.get_one(Generation, generation_id) for generation_id in self._ids]
            return {row.id: (row.poses_failed + row.poses_cancelled, 0 if row.unlimited else PRICE) for row in rows}


def run_machine(fresh: Fresh, *, examples: int, steps: int, repeatable: bool) -> Counter[str]:
    """Run examples of so many steps each; return how often each step was taken. Raises what an example broke."""
    taken: Counter[str] = Counter()
    machine = type("Money", (MoneyMachine,), {"fresh": staticmethod(fresh), "steps": taken})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=repeatable,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return taken


def _sign_of_life(worker: str) -> WorkerReport:
    return WorkerReport(
        name=worker,
        host="here",
        pid=1,
        device="cpu",
        device_name=None,
        profile="tiny",
        status=WorkerStatus.READY,
        max_batch=4,
    )


def _drawn(claim: Claim) -> DrawnPicture:
    stem = f"pictures/{claim.item_id}-{claim.attempt}"
    return DrawnPicture(
        output=StoredFile(key=f"{stem}.png", content_type="image/png", size_bytes=1000),
        thumbnail=StoredFile(key=f"{stem}.webp", content_type="image/webp", size_bytes=100),
        backend="tiny",
        pose_applied=True,
        licence="Apache-2.0",
        generation_time_s=1.5,
        worker="w1",
    )


def _furnish(database: Database) -> tuple[list[str], dict[str, str]]:
    """Write a pose and the customers; return the ids of poses, and each customer's project."""
    with database.writing() as session:
        shelf = PoseCategory(slug="s", name="s", display_name="S", created_at=BEGIN, updated_at=BEGIN)
        session.add(shelf)
        session.flush()
        pose = LibraryPose(
            slug="p", name="P", description="standing", category_id=shelf.id, people=PEOPLE, difficulty="beginner",
            gender_suitability="unisex", tags=[], created_at=BEGIN, updated_at=BEGIN,
        )  # fmt: skip
        session.add(pose)
        session.add_all(
            User(id=user, email=f"{user}@example.com", created_at=BEGIN, updated_at=BEGIN) for user in USERS
        )
        session.flush()
        for user in USERS:
            ledger.grant(session, user, FIRST_CREDITS, description="a welcome", now=BEGIN)
        projects = {
            user: create_project(session, user, name=f"{user}'s", description=None, avatar_image_url=None, now=BEGIN).id
            for user in USERS
        }
        return [pose.id], projects
