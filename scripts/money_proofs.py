"""Proofs that nothing is spent twice or given back twice by many processes at once; prove_money.py runs them.

Each works on a fresh, migrated database given by its URL, starts real processes with threads in them, and returns
figures that are counted from the database afterwards.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import httpx2
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from posegen import ledger
from posegen.books import read_books
from posegen.database import Database
from posegen.errors import DatabaseAway, NotEnoughCredits
from posegen.finishing import fail_picture
from posegen.leases import Claim, Claimant, claim_items
from posegen.orders import Order, place_order
from posegen.projects import create_project
from posegen.queueing import Room
from posegen.statuses import EntryType
from posegen.tables import IdempotencyKey, LedgerEntry, LibraryPose, PoseCategory, User

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANN = "ann"
PEOPLE = {"people": [{"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}], "canvas_width": 1, "canvas_height": 1}
SPENT_BY_PROOF = "a balance is the sum of its entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spends:
    """What many clients got of one balance."""

    clients: int
    tries: int
    balance: int
    cost: int
    succeeded: int
    refused: int
    tried_again: int
    lowest_seen: int
    left: int
    entries_agree: bool

    @property
    def good(self) -> bool:
        """Tell whether exactly what the balance pays was sold."""
        paid = self.balance // self.cost
        return (
            self.succeeded == paid
            and self.succeeded + self.refused == self.tries
            and self.left == self.balance - paid * self.cost
            and self.lowest_seen >= 0
            and self.entries_agree
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunds:
    """What became of refunds that were sent again and again."""

    pictures: int
    processes: int
    sent: int
    won: int
    most_entries_of_a_picture: int
    refunded_credits: int
    books_agree: bool

    @property
    def good(self) -> bool:
        """Tell whether every picture was refunded once."""
        return self.won == self.pictures and self.most_entries_of_a_picture == 1 and self.books_agree


@dataclass(frozen=True, slots=True, kw_only=True)
class Submits:
    """What many clients were answered who sent the same order with the same key."""

    clients: int
    statuses: dict[str, int]
    different_answers: int
    different_after_restart: int
    other_body_status: int
    debits: int
    keys: int
    books_agree: bool

    @property
    def good(self) -> bool:
        """Tell whether there was one debit, and one answer for everybody."""
        return (
            self.statuses == {"202": self.clients}
            and (self.different_answers, self.different_after_restart, self.debits, self.keys) == (1, 1, 1, 1)
            and self.other_body_status == 422
            and self.books_agree
        )


def prove_spends(url: str, *, clients: int, spends: int, balance: int, cost: int, processes: int = 8) -> Spends:
    """Let clients in several processes spend from one balance, each as often as told; watch the balance meanwhile."""
    with _opened(url) as database:
        furnish(database, credits=balance)
        over, seen = threading.Event(), [balance]

        def watch() -> None:
            while not over.wait(0.05):
                with database.reading() as session:
                    seen.append(ledger.balance_of(session, ANN))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            counted = _in_processes(
                _spend, [(url, number, clients // processes, spends, cost) for number in range(processes)]
            )
        finally:
            over.set()
            watcher.join()
        with database.reading() as session:
            left = ledger.balance_of(session, ANN)
        broken = {one.promise for one in read_books(database).disagreements}
    return Spends(
        clients=clients,
        tries=clients * spends,
        balance=balance,
        cost=cost,
        succeeded=counted["succeeded"],
        refused=counted["refused"],
        tried_again=counted["tried_again"],
        lowest_seen=min(*seen, left),
        left=left,
        entries_agree=SPENT_BY_PROOF not in broken,
    )


def prove_refunds(url: str, *, pictures: int, times: int = 10, processes: int = 8) -> Refunds:
    """Let several processes fail the same claimed pictures, and refund the same parts, again and again."""
    with _opened(url) as database:
        project_id, pose_id = furnish(database, credits=30 * pictures)
        for _ in range(pictures):
            with database.writing() as session:
                order = Order(project_id=project_id, pose_ids=(pose_id,), variations=1)
                place_order(session, ANN, order, profile_name="tiny", now=AT)
        with database.writing() as session:
            claimant = Claimant(worker="w1", profile="tiny", lease_s=3600)
            claims = claim_items(session, claimant, Room(free_rows=pictures), now=AT)
        counted = _in_processes(_refund, [(url, claims, times)] * processes)
        with database.reading() as session:
            refunds = select(func.count().label("entries"), func.sum(LedgerEntry.amount_credits).label("credits"))
            refunds = refunds.where(LedgerEntry.type == EntryType.REFUND).group_by(
                LedgerEntry.reference, LedgerEntry.part
            )
            rows = session.execute(refunds).all()
        agree = read_books(database).agree
    return Refunds(
        pictures=len(claims),
        processes=processes,
        sent=counted["sent"],
        won=counted["won"],
        most_entries_of_a_picture=max(row.entries for row in rows),
        refunded_credits=sum(int(row.credits) for row in rows),
        books_agree=agree,
    )


def prove_submits(url: str, serve: Callable[[], Any], *, clients: int, body: dict[str, Any]) -> Submits:
    """Send one order with one key from many clients at once, to an API and to the one that is started after it.

    `serve` is a context that yields (address, token of the customer); `body` is an order that the customer may place.
    """
    with serve() as (address, token):
        first = submit_at_once(address, token, body, clients=clients)
        other = submit_at_once(address, token, {**body, "seed": 7}, clients=1)
    with serve() as (address, token):
        after = submit_at_once(address, token, body, clients=clients)
    with _opened(url) as database:
        with database.reading() as session:
            usage = LedgerEntry.type == EntryType.USAGE
            debits = session.execute(select(func.count()).select_from(LedgerEntry).where(usage)).scalar_one()
            keys = session.execute(select(func.count()).select_from(IdempotencyKey)).scalar_one()
        agree = read_books(database).agree
    return Submits(
        clients=clients,
        statuses=dict(Counter(str(status) for status, _ in first)),
        different_answers=len({content for _, content in first}),
        different_after_restart=len({content for _, content in first + after}),
        other_body_status=other[0][0],
        debits=debits,
        keys=keys,
        books_agree=agree,
    )


def submit_at_once(
    address: str, token: str, body: dict[str, Any], *, clients: int, key: str = "one-key"
) -> list[tuple[int, bytes]]:
    """Send the same order from so many clients past one barrier; return each status and body."""
    barrier = threading.Barrier(clients)
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}

    def submit(_number: int) -> tuple[int, bytes]:
        barrier.wait(120)
        answer = client.post("/api/apps/pose-generator/generate", json=body)
        return answer.status_code, answer.content

    unlimited = httpx2.Limits(max_connections=None)
    connected = httpx2.Client(base_url=address, headers=headers, timeout=60, limits=unlimited)
    with connected as client, ThreadPoolExecutor(clients) as pool:
        return list(pool.map(submit, range(clients)))


def furnish(database: Database, *, credits: int) -> tuple[str, str]:
    """Write a pose and a customer with credits; return the customer's project and the pose."""
    with database.writing() as session:
        shelf = PoseCategory(slug="s", name="s", display_name="S", created_at=AT, updated_at=AT)
        session.add(shelf)
        session.flush()
        pose = LibraryPose(
            slug="p", name="P", description="standing", category_id=shelf.id, people=PEOPLE, difficulty="beginner",
            gender_suitability="unisex", tags=[], created_at=AT, updated_at=AT,
        )  # fmt: skip
        session.add_all([pose, User(id=ANN, email="ann@example.com", created_at=AT, updated_at=AT)])
        session.flush()
        ledger.grant(session, ANN, credits, description="to spend", now=AT)
        project = create_project(session, ANN, name="Ann's", description=None, avatar_image_url=None, now=AT)
        return project.id, pose.id


def _in_processes(work: Callable[..., Counter[str]], tasks: Sequence[tuple[Any, ...]]) -> Counter[str]:
    """Run each task in a process of its own, all at once, and add up what they counted."""
    with ProcessPoolExecutor(len(tasks), mp_context=get_context("spawn")) as pool:
        counted = [done.result() for done in [pool.submit(work, *task) for task in tasks]]
    return sum(counted, Counter())


def _spend(url: str, process: int, clients: int, spends: int, cost: int) -> Counter[str]:
    with _opened(url, connections=clients) as database:

        def spend(client: int) -> Counter[str]:
            counted: Counter[str] = Counter()
            for number in range(spends):
                counted[_spent(database, f"p{process}-c{client}-{number}", cost, counted)] += 1
            return counted

        with ThreadPoolExecutor(clients) as pool:
            return sum(pool.map(spend, range(clients)), Counter())


def _spent(database: Database, reference: str, cost: int, counted: Counter[str]) -> str:
    """Charge once and say what came of it; who is told that the database is away tries again, as a client does."""
    while True:
        try:
            with database.writing() as session:
                ledger.charge(
                    session, ANN, cost, reference=reference, part=ledger.ORDER_PART, description="a spend", now=AT
                )
        except NotEnoughCredits:
            return "refused"
        except DatabaseAway:
            counted["tried_again"] += 1
            continue
        return "succeeded"


def _refund(url: str, claims: Sequence[Claim], times: int) -> Counter[str]:
    """Fail every picture so many times, and after each also refund its part by hand: SQL must refuse that."""
    counted: Counter[str] = Counter()
    with _opened(url) as database:
        for _ in range(times):
            for claim in claims:
                with database.writing() as session:
                    won = fail_picture(session, claim, code="black", message="It came out black.", now=AT)
                counted["sent"] += 1
                counted["won"] += int(won)
                counted["won"] += int(_refunded_by_hand(database, claim))
                counted["sent"] += 1
    return counted


def _refunded_by_hand(database: Database, claim: Claim) -> bool:
    try:
        with database.writing() as session:
            ledger.refund(
                session, ANN, 30, reference=claim.generation_id, part=claim.variation_key, description="again", now=AT
            )
    except IntegrityError:
        return False
    return True


@contextmanager
def _opened(url: str, *, connections: int = 10) -> Iterator[Database]:
    database = Database(url, pool_size=connections)
    try:
        yield database
    finally:
        database.close()
