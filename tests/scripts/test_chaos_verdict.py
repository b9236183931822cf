"""The verdict of scripts/chaos.py: an honest run passes, and everything that breaks a promise is seen and named."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from chaos_customers import Sent
from chaos_notes import Notes
from chaos_plan import Fault, Plan
from chaos_recorder import install
from chaos_verdict import ZEROS, Counting, Report
from chaos_watch import FileWatch, RingWatch
from sqlalchemy import Connection, text
from support.house import NOW, House, drawn

from posegen.database import Database
from posegen.finishing import StoredFile, cancel_generation, deliver_picture
from posegen.leases import Claim

WORDS = ("first order", "second order", "third order")
NODE = os.uname().nodename
DELIVERED = "(SELECT id FROM work_items WHERE status = 'completed' ORDER BY id LIMIT 1)"
CANCELLED = "(SELECT id FROM work_items WHERE status = 'cancelled')"
MOVE = (
    "INSERT INTO chaos_moves (at, item_id, from_status, to_status, from_attempt, to_attempt, from_worker, to_worker)"
    " VALUES ({at}, 'x', '{before}', '{after}', {attempt}, {attempt} + {more}, NULL, '{worker}')"
)
ENTRY = (
    "INSERT INTO ledger_entries (id, user_id, type, amount_credits, reference, part, description, created_at)"
    " SELECT 'e', user_id, '{type}', {amount}, generation_id, {part}, 'd', CURRENT_TIMESTAMP"
    f" FROM work_items WHERE id = {DELIVERED}"
)
CUSTOMERS_NOTES = ("call", "order_refused", "told_wrongly", "customer_broke")
"""What is noted of customers; the rest is of processes."""
EVENT = (
    "INSERT INTO events (user_id, event_id, generation_id, type, payload, created_at)"
    " SELECT user_id, 99, generation_id, type, payload, created_at FROM events WHERE type = 'pose_completed' LIMIT 1"
)


@dataclass
class Client:
    """What a verdict needs of a customer: what it sent, and what its socket was told."""

    id: str
    sent: list[Sent] = field(default_factory=list)
    ear: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(told=[]))

    @property
    def name(self) -> str:
        return self.id

    @property
    def taken(self) -> int:
        return sum(sent.generation_id is not None for sent in self.sent)


class Stage:
    """A run and its customer. `happen`: two delivered pictures, one that failed of its poison, one cancelled."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.house = House(database)
        self.ground = SimpleNamespace(
            database=database, storage_dir=folder / "storage", notes=Notes(folder / "faults.jsonl"), plan=Plan()
        )
        self.calls = Notes(folder / "customers.jsonl")
        self.files = FileWatch(self.ground)  # type: ignore[arg-type]
        self.client = Client("ann")
        self.faults: dict[str, int] = {}
        install(database)
        self.house.customer("ann")

    def judge(self) -> Report:
        """Count everything; the books are said to agree, so that only the count can find fault."""
        counting = Counting(self.ground, [self.client], self.calls)  # type: ignore[arg-type, list-item]
        counting.report.faults = self.faults
        rings = RingWatch.__new__(RingWatch)
        rings.seen = []
        report = counting.figures(self.files, rings)
        report.reconcile_ok = True
        return report

    def order(self, words: str, pictures: int) -> Sent:
        placed = self.house.order("ann", pictures, words=words)
        answer = f"{placed.generation_id} {placed.credits_charged}"
        sent = Sent(words=words, pictures=pictures, generation_id=placed.generation_id, answers=[answer])
        self.client.sent.append(sent)
        return sent

    def sql(self, *statements: str) -> None:
        """Do what no code of ours does."""
        with self.ground.database.engine.execution_options(writes=True).begin() as connection:
            _open_ledger(connection)
            for statement in statements:
                assert connection.execute(text(statement)).rowcount, statement

    def picture(self) -> Path:
        """The file of a delivered picture."""
        files = sorted(Path(self.ground.storage_dir).rglob("*.png"))
        return files[0]

    def listen(self) -> None:
        """Tell the customer every event, as its socket does."""
        self.client.ear.told = [
            {"eventId": event.event_id, "type": event.type, **event.payload} for event in self.house.events("ann")
        ]

    def happen(self) -> None:
        """Let it happen."""
        self.order(WORDS[0], 2)
        for claim in self.house.claim(2):
            self.deliver(claim)
        self.order(WORDS[1], 1)
        (poisoned,) = self.house.claim(1)
        self.ground.notes.add("poisoned", item_id=poisoned.item_id)
        self.house.fail(poisoned)
        last = self.order(WORDS[2], 1)
        with self.house.database.writing() as session:
            cancel_generation(session, last.generation_id or "", "ann", now=NOW)
        last.cancelled = True
        self.calls.add("call", status=200, method="POST", path=f"/generations/{last.generation_id}/cancel", said="")
        self.files.look()
        self.listen()

    def deliver(self, claim: Claim) -> None:
        stem = f"generations/{claim.item_id}-a{claim.attempt}"
        output = StoredFile(key=f"{stem}.png", content_type="image/png", size_bytes=3)
        thumbnail = StoredFile(key=f"{stem}.webp", content_type="image/webp", size_bytes=3)
        for file in (output, thumbnail):
            path = self.ground.storage_dir / file.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.key)
        with self.house.database.writing() as session:
            assert deliver_picture(session, claim, replace(drawn(claim), output=output, thumbnail=thumbnail), now=NOW)


def _open_ledger(connection: Connection) -> None:
    for change in ("update", "delete"):
        connection.execute(text(f"DROP TRIGGER IF EXISTS ledger_entries_no_{change}"))


@contextmanager
def staged(url: str, folder: Path) -> Iterator[Stage]:
    database = Database(url)
    stage = Stage(database, folder)
    try:
        yield stage
    finally:
        stage.calls.close()
        stage.ground.notes.close()
        database.close()


@pytest.fixture
def stage(sqlite_url: str, tmp_path: Path) -> Iterator[Stage]:
    with staged(sqlite_url, tmp_path) as stage:
        stage.happen()
        yield stage


def sql(*statements: str) -> Callable[[Stage], None]:
    return lambda stage: stage.sql(*statements)


def noted(what: str, **facts: object) -> Callable[[Stage], None]:
    def plant(stage: Stage) -> None:
        (stage.calls if what in CUSTOMERS_NOTES else stage.ground.notes).add(what, **facts)

    return plant


def call(status: int) -> Callable[[Stage], None]:
    return noted("call", status=status, method="POST", path="/generate", said="", began=0.0, took_s=0.1)


def double_order(stage: Stage) -> None:
    stage.order(WORDS[0], 1)
    stage.client.sent.pop()
    (claim,) = stage.house.claim(1)
    stage.deliver(claim)
    stage.files.look()
    stage.listen()


def answered_twice(stage: Stage) -> None:
    stage.client.sent[0].answers.append("another 60")


def never_kept(stage: Stage) -> None:
    stage.client.sent[0].generation_id = "nowhere"


def half_an_order(stage: Stage) -> None:
    stage.client.sent[0].pictures = 3


def not_cancelled(stage: Stage) -> None:
    stage.client.sent[0].cancelled = True


def lost_file(stage: Stage) -> None:
    stage.picture().unlink()


def other_file(stage: Stage) -> None:
    stage.picture().write_text("another picture")


def poison_forgotten(stage: Stage) -> None:
    stage.ground.notes._kept.clear()


def cancel_forgotten(stage: Stage) -> None:
    stage.calls._kept.clear()


def deaf(stage: Stage) -> None:
    del stage.client.ear.told[2]


def told_again(stage: Stage) -> None:
    stage.client.ear.told.insert(1, stage.client.ear.told[0])


def told_backwards(stage: Stage) -> None:
    stage.client.ear.told.reverse()


def told_of_another(stage: Stage) -> None:
    shown = next(one for one in stage.client.ear.told if one["type"] == "pose_completed")
    shown["poseId"] = "another"


PLANTS: tuple[tuple[Callable[[Stage], None], set[str]], ...] = (
    (lost_file, {"lost"}),
    (never_kept, {"lost"}),
    (half_an_order, {"lost"}),
    (sql(f"UPDATE work_items SET status = 'queued' WHERE id = {CANCELLED}"), {"lost", "stale_writes"}),
    (sql(f"DELETE FROM ledger_entries WHERE part = (SELECT part FROM work_items WHERE id = {CANCELLED}) AND"
         " type = 'refund' AND reference = (SELECT generation_id FROM work_items WHERE status = 'cancelled')"),
     {"lost", "stale_writes"}),
    (sql(ENTRY.format(type="usage", amount=-60, part="'again'")), {"paid_twice"}),
    (sql("UPDATE ledger_entries SET amount_credits = -90 WHERE amount_credits = -60"), {"paid_twice", "stale_writes"}),
    (double_order, {"paid_twice"}),
    (answered_twice, {"paid_twice"}),
    (sql(ENTRY.format(type="refund", amount=30, part="part")), {"refunded_and_delivered"}),
    (sql(MOVE.format(at=1, before="drawing", after="completed", attempt=1, more=0, worker="w"),
         MOVE.format(at=1, before="drawing", after="completed", attempt=1, more=0, worker="w")), {"delivered_twice"}),
    (sql(EVENT), {"delivered_twice"}),
    (sql(MOVE.format(at=1, before="completed", after="drawing", attempt=1, more=1, worker="w")), {"stale_writes"}),
    (sql(MOVE.format(at=1, before="drawing", after="completed", attempt=1, more=1, worker="w")), {"stale_writes"}),
    (sql(f"UPDATE work_items SET attempt = 2 WHERE id = {DELIVERED}"), {"stale_writes", "delivered_twice"}),
    (sql(f"UPDATE work_items SET worker = 'another' WHERE id = {DELIVERED}"), {"stale_writes"}),
    (sql("UPDATE stored_objects SET size_bytes = 4 WHERE key LIKE '%.png'"), {"stale_writes"}),
    (poison_forgotten, {"failed_without_cause"}),
    (cancel_forgotten, {"failed_without_cause"}),
    (call(500), {"bad_5xx"}),
    (noted("order_refused", customer="ann", status=402, answer="too few credits"), {"orders_refused"}),
    (other_file, {"overwritten"}),
    (deaf, {"event_gaps"}),
    (told_again, {"events_repeated"}),
    (told_backwards, {"told_wrongly"}),
    (told_of_another, {"told_wrongly"}),
    (not_cancelled, {"told_wrongly"}),
    (noted("told_wrongly", sentence="an order was answered 404"), {"told_wrongly"}),
    (noted("needs_a_hand", process="api", log_end=""), {"needs_a_hand"}),
    (noted("ended_by_itself", process="api", code=1, log_end=""), {"ended_by_themselves"}),
    (noted("customer_broke", customer="ann", error="KeyError"), {"customers_broke"}),
)  # fmt: skip
"""What somebody or something could do to a run, and every figure that tells of it."""


def test_an_honest_run_breaks_no_promise(stage: Stage) -> None:
    call(503)(stage)

    report = stage.judge()

    assert report.broken == []
    assert report.kept
    assert {figure: getattr(report, figure) for figure in ZEROS} == dict.fromkeys(ZEROS, 0)
    assert (report.orders, report.pictures, report.delivered) == (3, 4, 2)


@pytest.mark.parametrize("number", range(len(PLANTS)))
def test_everything_that_breaks_a_promise_is_counted_and_named(stage: Stage, number: int) -> None:
    plant, figures = PLANTS[number]
    plant(stage)

    report = stage.judge()

    assert {figure for figure in ZEROS if getattr(report, figure)} == figures, report.broken
    assert {sentence.partition(":")[0] for sentence in report.broken} == figures
    assert not report.kept


def test_every_figure_that_must_be_0_was_seen_at_another() -> None:
    assert set().union(*(figures for _, figures in PLANTS)) == set(ZEROS)


def test_books_that_disagree_break_a_run(stage: Stage) -> None:
    report = stage.judge()
    report.reconcile_ok = False

    assert not report.kept


def test_a_takeover_that_takes_half_a_minute_breaks_a_run(stage: Stage) -> None:
    held = MOVE.format(at=1, before="queued", after="drawing", attempt=0, more=1, worker=f"{NODE}-7-x")
    back = MOVE.format(at=20, before="drawing", after="queued", attempt=1, more=0, worker="")
    taken = MOVE.format(at=32, before="queued", after="drawing", attempt=1, more=1, worker=f"{NODE}-8-y")
    stage.sql(held, back, taken)
    stage.ground.notes.add("worker_killed", at=2.0, pid=7)

    report = stage.judge()

    assert (report.takeovers, report.takeover_p50_s, report.takeover_p99_s) == (1, 30.0, 30.0)
    assert report.broken == ["takeover_p99_s is 30.0 s"]


def test_redis_that_comes_back_unheard_and_orders_that_wait_for_it_break_a_run(stage: Stage) -> None:
    stage.ground.plan = Plan(faults={Fault.REDIS_KILL: 1})
    stage.faults = {"redis-kill": 1}
    stage.ground.notes.add("redis_back", lost_at=10.0, at=12.0, queued=5)
    stage.calls.add("call", status=202, method="POST", path="/x/generate", said="", began=11.0, took_s=2.5)

    report = stage.judge()

    assert report.broken == [
        "after 1 losses of Redis nobody rang within 15 s",
        "1 spending calls were refused or took over 2 s without Redis",
    ]


def test_a_run_in_which_nothing_was_tried_proves_nothing(stage: Stage) -> None:
    stage.ground.plan = Plan(orders=4, faults={Fault.WORKER_KILL: 2, Fault.POISON: 0})

    assert stage.judge().broken == [
        "3 orders were taken, 4 were wanted",
        "the fault worker-kill was never inflicted",
    ]


def test_a_run_whose_faults_hit_nobody_proves_nothing(stage: Stage) -> None:
    stage.faults = {"worker-kill": 10, "worker-stop": 10, "redis-kill": 10}

    assert stage.judge().broken == [
        "no picture of a killed worker was taken over",
        "no stopped worker was overtaken",
        "nobody ordered while Redis was away",
    ]


def test_a_run_in_which_nothing_was_delivered_proves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        stage.order(WORDS[0], 1)
        with stage.house.database.writing() as session:
            cancel_generation(session, stage.client.sent[0].generation_id or "", "ann", now=NOW)
        stage.calls.add("call", status=200, path=f"/{stage.client.sent[0].generation_id}/cancel")
        stage.listen()

        assert stage.judge().broken == ["no picture was delivered"]
