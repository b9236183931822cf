"""The figures of a run, each counted from the database, the store, or what clients were told; and which promise broke.

`told` means events over Socket.IO and answers over REST as the customers' own logs have them. Names of the figures are
the report's JSON keys.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chaos_customers import Customer
from chaos_ground import Ground
from chaos_notes import Notes
from chaos_plan import Fault
from chaos_recorder import changes, moves
from chaos_timing import after_death, percentile
from chaos_watch import FileWatch, RingWatch
from sqlalchemy import select

from posegen.prices import picture_price
from posegen.statuses import ITEM_MOVES, OPEN_ITEM_STATUSES, EntryType, EventType, ItemStatus
from posegen.tables import GeneratedPicture, Generation, LedgerEntry, User, UserEvent, WorkItem

TAKEOVER_P99_S = 30.0
RUNG_AGAIN_S = 15.0
SPEND_S = 2.0
ENOUGH_FAULTS = 10
"""So many faults of a kind must have hit something; fewer may have met nothing but idle workers."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What is printed. Counts of broken promises are 0 in a run that kept them."""

    orders: int = 0
    pictures: int = 0
    delivered: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    paid_twice: int = 0
    delivered_twice: int = 0
    refunded_and_delivered: int = 0
    stale_writes: int = 0
    failed_without_cause: int = 0
    bad_5xx: int = 0
    orders_refused: int = 0
    takeovers: int = 0
    takeover_p50_s: float | None = None
    takeover_p99_s: float | None = None
    returned_p50_s: float | None = None
    returned_p99_s: float | None = None
    reconcile_ok: bool = False
    overwritten: int = 0
    event_gaps: int = 0
    events_repeated: int = 0
    told_wrongly: int = 0
    needs_a_hand: int = 0
    ended_by_themselves: int = 0
    customers_broke: int = 0
    ghosts_overtaken: int = 0
    crash_points: dict[str, int] = field(default_factory=dict)
    crash_points_missed: list[str] = field(default_factory=list)
    crash_points_unreached: list[str] = field(default_factory=list)
    rung_again_max_s: float | None = None
    slowest_spend_redis_away_s: float | None = None
    spends_redis_away: int = 0
    spends_refused_redis_away: int = 0
    duration_s: float = 0.0
    seed: int = 0
    db: str = ""
    engine: str = ""
    broken: list[str] = field(default_factory=list)
    evidence: str | None = None

    @property
    def kept(self) -> bool:
        """Tell whether every promise was kept."""
        return self.reconcile_ok and not self.broken

    def as_json(self) -> dict[str, Any]:
        """Return the report with its keys as they are documented."""
        return asdict(self)


ZEROS = (
    *("lost", "paid_twice", "delivered_twice", "refunded_and_delivered", "stale_writes", "failed_without_cause"),
    *("bad_5xx", "orders_refused", "overwritten", "event_gaps", "events_repeated", "told_wrongly", "needs_a_hand"),
    *("ended_by_themselves", "customers_broke"),
)
"""What must be 0; each such figure comes with sentences that name what disagrees."""


class Counting:
    """One count over everything. `figures` does it; sentences about what is wrong gather in `said`."""

    def __init__(self, ground: Ground, customers: Sequence[Customer], calls: Notes) -> None:
        self.report = Report(seed=ground.plan.seed, db=ground.plan.db, engine=ground.plan.engine)
        self._ground = ground
        self._customers = customers
        self._calls = calls
        with ground.database.reading() as session:
            self._users = {user.id: user for user in session.scalars(select(User))}
            self._generations = {row.id: row for row in session.scalars(select(Generation))}
            self._items = {row.id: row for row in session.scalars(select(WorkItem))}
            self._pictures = session.scalars(select(GeneratedPicture)).all()
            self._entries = session.scalars(select(LedgerEntry)).all()
            self._events = session.scalars(select(UserEvent)).all()
            self._moves = moves(session)
            self._changes = changes(session)

    def figures(self, files: FileWatch, rings: RingWatch) -> Report:
        """Count everything but the books, which `posegen reconcile` checks."""
        self.report.orders = sum(one.taken for one in self._customers)
        self.report.pictures = len(self._items)
        self.report.delivered = sum(item.status == ItemStatus.COMPLETED for item in self._items.values())
        self._count_lost(files)
        self._count_payments()
        self._count_deliveries()
        self._count_stale()
        self._count_failures()
        self._count_told()
        self._count_processes()
        self._time_takeovers()
        self._time_redis(rings)
        self._say_if_little_was_tried()
        return self.report

    def _wrong(self, figure: str, sentences: Iterable[str]) -> None:
        """Add to a figure, and keep the sentences that say what is wrong."""
        for sentence in sentences:
            setattr(self.report, figure, getattr(self.report, figure) + 1)
            self.report.broken.append(f"{figure}: {sentence}")

    def _count_lost(self, files: FileWatch) -> None:
        made = Counter(item.generation_id for item in self._items.values())
        taken = [sent for one in self._customers for sent in one.sent if sent.generation_id]
        self._wrong(
            "lost", (f"order {s.words!r} has no row" for s in taken if s.generation_id not in self._generations)
        )
        self._wrong(
            "lost",
            (
                f"{s.words!r}: {made[s.generation_id]} of {s.pictures}"
                for s in taken
                if made[s.generation_id] != s.pictures
            ),
        )
        still_open = [item for item in self._items.values() if item.status in OPEN_ITEM_STATUSES]
        self._wrong("lost", (f"picture {item.id} is {item.status} for ever" for item in still_open))
        missing, overwritten = files.check()
        self._wrong("lost", (f"file {key} is missing" for key in missing))
        self._wrong("overwritten", (f"file {key} is not what it was" for key in overwritten))

    def _count_payments(self) -> None:
        by_words = Counter(row.text_prompt for row in self._generations.values())
        self._wrong("paid_twice", (f"{words!r} was taken {n} times" for words, n in by_words.items() if n > 1))
        for customer in self._customers:
            unlike = [sent for sent in customer.sent if len(set(sent.answers)) > 1]
            self._wrong("paid_twice", (f"{s.words!r} was answered {s.answers}" for s in unlike))
        usage = [entry for entry in self._entries if entry.type == EntryType.USAGE]
        charges = Counter(entry.reference for entry in usage)
        self._wrong(
            "paid_twice", (f"{row} has {charges[row]} charges" for row in self._generations if charges[row] != 1)
        )
        price = picture_price(with_background=False)
        for entry in usage:
            row = self._generations.get(entry.reference)
            if row is None or -entry.amount_credits != row.total_expected_poses * price:
                self._wrong("paid_twice", [f"{entry.reference} was charged {-entry.amount_credits}"])

    def _count_deliveries(self) -> None:
        done = [picture for picture in self._pictures if picture.status == ItemStatus.COMPLETED]
        per_key = Counter((picture.generation_id, picture.variation_key) for picture in done)
        self._wrong("delivered_twice", (f"{key} has {n} pictures" for key, n in per_key.items() if n > 1))
        moved = Counter(move.item_id for move in self._moves if move.to_status == ItemStatus.COMPLETED)
        self._wrong("delivered_twice", (f"{item} was completed {n} times" for item, n in moved.items() if n > 1))
        told = Counter(
            (event.generation_id, event.payload["variationKey"], event.payload["status"])
            for event in self._events
            if event.type == EventType.POSE_COMPLETED
        )
        self._wrong("delivered_twice", (f"{key} was told {n} times" for key, n in told.items() if n > 1))
        refunds = Counter((e.reference, e.part) for e in self._entries if e.type == EntryType.REFUND)
        self._wrong("paid_twice", (f"{key} was refunded {n} times" for key, n in refunds.items() if n > 1))
        for item in self._items.values():
            refunded = (item.generation_id, item.part) in refunds
            if refunded and item.status == ItemStatus.COMPLETED:
                self._wrong("refunded_and_delivered", [f"picture {item.id}"])
            if not refunded and item.status in (ItemStatus.FAILED, ItemStatus.CANCELLED):
                self._wrong("lost", [f"picture {item.id} is {item.status} and was not refunded"])

    def _count_stale(self) -> None:
        """Count writes of who no longer held the picture, moves that are none, and changes of what is final."""
        for move in self._moves:
            if move.from_status != move.to_status and move.to_status not in ITEM_MOVES[ItemStatus(move.from_status)]:
                self._wrong("stale_writes", [f"{move.item_id}: {move.from_status} became {move.to_status}"])
            grew = move.to_attempt - move.from_attempt
            if grew != int(move.to_status == ItemStatus.DRAWING):
                self._wrong("stale_writes", [f"{move.item_id}: attempt {move.from_attempt} became {move.to_attempt}"])
        for picture in self._pictures:
            item = self._items[picture.work_item_id]
            if picture.status != item.status:
                self._wrong("stale_writes", [f"picture {item.id} is {item.status}, its row says {picture.status}"])
            elif picture.output_key is not None:
                mine = picture.output_key.endswith(f"-a{item.attempt}.png") and picture.worker == item.worker
                self._wrong(
                    "stale_writes", [] if mine else [f"{picture.output_key} by {picture.worker}: not its holder"]
                )
        self._wrong("stale_writes", self._changes)

    def _count_failures(self) -> None:
        poisoned = {note["item_id"] for note in self._ground.notes.of("poisoned")}
        failed = [item for item in self._items.values() if item.status == ItemStatus.FAILED]
        unasked = [item for item in failed if item.id not in poisoned]
        self._wrong(
            "failed_without_cause",
            (f"picture {i.id}: {i.error_code}, {i.crashes} crashes ({i.alone_crashes} alone)" for i in unasked),
        )
        asked = {call["path"].split("/")[-2] for call in self._calls.of("call") if call["path"].endswith("/cancel")}
        stopped = [item for item in self._items.values() if item.status == ItemStatus.CANCELLED]
        self._wrong(
            "failed_without_cause",
            (f"picture {i.id} was cancelled by nobody" for i in stopped if i.generation_id not in asked),
        )
        bad = [call for call in self._calls.of("call") if call["status"] >= 500 and call["status"] != 503]
        self._wrong("bad_5xx", (f"{c['method']} {c['path']}: {c['status']} {c['said']}" for c in bad))
        refused = self._calls.of("order_refused")  # everybody has credits for far more than a run
        self._wrong("orders_refused", (f"{r['customer']}: {r['status']} {r['answer']}" for r in refused))

    def _count_told(self) -> None:
        counters = {user.id: user.event_counter for user in self._users.values()}
        delivered: dict[str, set[str]] = {one.id: set() for one in self._customers}
        for picture in self._pictures:
            if picture.status == ItemStatus.COMPLETED:
                delivered.setdefault(picture.user_id, set()).add(picture.id)
        for customer in self._customers:
            told = customer.ear.told if customer.ear else []
            numbers = Counter(int(message["eventId"]) for message in told)
            missed = sorted(set(range(1, counters[customer.id] + 1)) - set(numbers))
            self._wrong("event_gaps", (f"{customer.name} was not told event {number}" for number in missed))
            again = [f"{customer.name} was told event {number} again" for number, n in numbers.items() if n > 1]
            self._wrong("events_repeated", again)
            in_order = [int(message["eventId"]) for message in told]
            if in_order != sorted(in_order):
                self._wrong("told_wrongly", [f"{customer.name} was told events out of order"])
            shown = [m["poseId"] for m in told if m["type"] == EventType.POSE_COMPLETED and m["status"] == "completed"]
            wrong = Counter(shown)
            wrong.subtract(dict.fromkeys(delivered[customer.id], 1))
            self._wrong("told_wrongly", (f"{customer.name}: {picture} ({n:+d})" for picture, n in wrong.items() if n))
            for sent in customer.sent:
                row = self._generations.get(sent.generation_id or "")
                if sent.cancelled and (row is None or row.status != "cancelled"):
                    self._wrong("told_wrongly", [f"{sent.words!r} was told cancelled"])
        said_wrong = [note["sentence"] for note in self._calls.of("told_wrongly")]
        self._wrong("told_wrongly", said_wrong)

    def _count_processes(self) -> None:
        notes = self._ground.notes
        ended = [
            f"{note['process']} ({note['code']}): {note['log_end'][-600:]}" for note in notes.of("ended_by_itself")
        ]
        self._wrong("ended_by_themselves", ended)
        self._wrong("needs_a_hand", (f"{note['process']}: {note['log_end']}" for note in notes.of("needs_a_hand")))
        self._wrong("customers_broke", (f"{n['customer']}: {n['error']}" for n in self._calls.of("customer_broke")))

    def _time_takeovers(self) -> None:
        returned: list[float] = []
        taken: list[float] = []
        for killed in self._ground.notes.of("worker_killed"):
            died = after_death(self._moves, f"{os.uname().nodename}-{killed['pid']}-", killed["at"])
            returned += died.returned
            taken += died.taken
        self.report.takeovers = len(taken)
        self.report.returned_p50_s, self.report.returned_p99_s = percentile(returned, 0.50), percentile(returned, 0.99)
        self.report.takeover_p50_s, self.report.takeover_p99_s = percentile(taken, 0.50), percentile(taken, 0.99)
        slow = self.report.takeover_p99_s is not None and self.report.takeover_p99_s >= TAKEOVER_P99_S
        if slow and not self._is_database_kept_away():
            self.report.broken.append(f"takeover_p99_s is {self.report.takeover_p99_s} s")
        went_on = {note["pid"]: note["at"] for note in self._ground.notes.of("worker_went_on")}
        for stopped in self._ground.notes.of("worker_stopped"):
            slept = after_death(self._moves, f"{os.uname().nodename}-{stopped['pid']}-", stopped["at"])
            woke = went_on.get(stopped["pid"], float("inf"))
            self.report.ghosts_overtaken += any(stopped["at"] + one < woke for one in slept.taken)

    def _is_database_kept_away(self) -> bool:
        """Tell whether faults kept everybody from writing, so that the time of a takeover says nothing of its own.

        SQLite has one writer: a process that is stopped in the middle of its transaction stops all the others.
        """
        one_writer = {Fault.WORKER_STOP, Fault.API_STOP} if self.report.db == "sqlite" else set()
        return bool((one_writer | {Fault.DATABASE_KILL}) & set(self.report.faults))

    def _time_redis(self, rings: RingWatch) -> None:
        losses = [(note["lost_at"], note["at"], note["queued"]) for note in self._ground.notes.of("redis_back")]
        waits = [rings.rung_after(lost_at, back_at) for lost_at, back_at, queued in losses if queued > 0]
        self.report.rung_again_max_s = max((round(wait, 1) for wait in waits if wait is not None), default=None)
        alone = set(self.report.faults or self._ground.plan.faults) <= {Fault.REDIS_KILL, Fault.REDIS_FLUSH}
        late = sum(wait is None or wait > RUNG_AGAIN_S for wait in waits)
        if late and alone:
            self.report.broken.append(f"after {late} losses of Redis nobody rang within {RUNG_AGAIN_S:g} s")
        spends = [
            call
            for call in self._calls.of("call")
            if call["path"].endswith("/generate")
            and any(call["began"] < back and lost < call["began"] + call["took_s"] for lost, back, _ in losses)
        ]
        self.report.spends_redis_away = len(spends)
        self.report.spends_refused_redis_away = sum(call["status"] != 202 for call in spends)
        self.report.slowest_spend_redis_away_s = max((round(call["took_s"], 2) for call in spends), default=None)
        slow = sum(call["status"] != 202 or call["took_s"] > SPEND_S for call in spends)
        if slow and alone:
            self.report.broken.append(f"{slow} spending calls were refused or took over {SPEND_S:g} s without Redis")

    def _say_if_little_was_tried(self) -> None:
        """Let a run in which nothing could have broken not pass for one in which nothing did."""
        plan = self._ground.plan
        if not self.report.delivered:
            self.report.broken.append("no picture was delivered")
        if self.report.orders < plan.orders:
            self.report.broken.append(f"{self.report.orders} orders were taken, {plan.orders} were wanted")
        never = [str(fault) for fault, wanted in plan.faults.items() if wanted and not self.report.faults.get(fault)]
        self.report.broken += [f"the fault {name} was never inflicted" for name in never]
        for fault, hits, nothing in (
            (Fault.WORKER_KILL, self.report.takeovers, "no picture of a killed worker was taken over"),
            (Fault.WORKER_STOP, self.report.ghosts_overtaken, "no stopped worker was overtaken"),
            (Fault.REDIS_KILL, self.report.spends_redis_away, "nobody ordered while Redis was away"),
        ):
            if self.report.faults.get(fault, 0) >= ENOUGH_FAULTS and not hits:
                self.report.broken.append(nothing)


def faults_of(done: Mapping[str, int]) -> dict[str, int]:
    """Return what was done, by name."""
    return {str(name): count for name, count in sorted(done.items()) if count}
