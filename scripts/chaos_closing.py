"""The end of a run: wait until nothing moves any more, ask the service everything once more, and check the books."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence

from chaos_client import Unanswered
from chaos_customers import Customer
from chaos_ground import APP, Ground
from chaos_notes import Notes
from chaos_verdict import Report
from chaos_watch import FileWatch
from sqlalchemy import func, select

from posegen.errors import PosegenError
from posegen.statuses import OPEN_ITEM_STATUSES, ItemStatus
from posegen.tables import GeneratedPicture, LedgerEntry, User, WorkItem

_TOLD_WITHIN_S = 30.0
_DOWNLOAD_EVERY = 5


def wait_for_rest(ground: Ground, customers: Sequence[Customer], tick: Callable[[], None], rest_s: float) -> None:
    """Return when no picture is open and every customer has heard everything, or when it took too long."""
    ground.fill_all()
    deadline = time.monotonic() + rest_s
    for customer in customers:
        while customer.is_alive() and time.monotonic() < deadline:
            tick()
    while _open_pictures(ground) != 0 and time.monotonic() < deadline:
        tick()
    told_by = time.monotonic() + _TOLD_WITHIN_S
    while not _have_heard_all(ground, customers) and time.monotonic() < told_by:
        tick()


def ask_all_again(customers: Sequence[Customer], calls: Notes, files: FileWatch) -> None:
    """Read every order and some pictures over REST and compare them with what SQL says and the store held."""
    number = 0
    for customer in customers:
        for sent in customer.sent:
            if sent.generation_id is None:
                continue
            try:
                status, told = customer.rest.insist("GET", f"{APP}/generations/{sent.generation_id}/results")
            except Unanswered:
                status, told = 0, None
            if status != 200:
                calls.add("told_wrongly", sentence=f"{sent.words!r} was answered {status}")
                continue
            wrong = _disagrees(customer, sent.generation_id, told)
            if wrong:
                calls.add("told_wrongly", sentence=f"{sent.words!r}: {wrong}")
            for picture in told["results"]:
                number += 1
                if number % _DOWNLOAD_EVERY == 0 and picture["outputImageUrl"]:
                    _download(customer, picture["outputImageUrl"], calls, files)


def check_books(ground: Ground, report: Report) -> bool:
    """Run `posegen reconcile` and return whether the books agree; what it says is kept with the report."""
    said = ground.command("reconcile", "--json", timeout_s=300)
    (ground.folder / "reconcile.json").write_text(said.stdout + said.stderr)
    agrees = said.returncode == 0
    if not agrees:
        report.broken.append(f"reconcile ({said.returncode}): {(said.stdout or said.stderr)[-1500:]}")
    for sentence in _balances_off(ground):
        report.broken.append(f"reconcile: {sentence}")
        agrees = False
    return agrees


def _open_pictures(ground: Ground) -> int:
    counted = select(func.count()).select_from(WorkItem).where(WorkItem.status.in_(OPEN_ITEM_STATUSES))
    try:
        with ground.database.reading() as session:
            return session.execute(counted).scalar_one()
    except PosegenError:
        return -1


def _have_heard_all(ground: Ground, customers: Sequence[Customer]) -> bool:
    with ground.database.reading() as session:
        counters = {row[0]: row[1] for row in session.execute(select(User.id, User.event_counter))}
    return all(one.ear is not None and one.ear.cursor >= counters[one.id] for one in customers)


def _disagrees(customer: Customer, generation_id: str, told: dict[str, list[dict[str, str]]]) -> str:
    """Return how REST differs from SQL about an order's pictures; empty when it does not."""
    with customer.ground.database.reading() as session:
        rows = session.execute(
            select(GeneratedPicture.variation_key, GeneratedPicture.status).where(
                GeneratedPicture.generation_id == generation_id
            )
        )
        known = sorted((row[0], row[1]) for row in rows)
    shown = sorted((picture["variationKey"], picture["status"]) for picture in told["results"])
    return "" if shown == known else json.dumps({"shown": shown, "known": known})


def _download(customer: Customer, url: str, calls: Notes, files: FileWatch) -> None:
    status, content = customer.rest.call("GET", url)
    if status != 200 or hashlib.sha256(content).hexdigest() not in files.digests():
        calls.add("told_wrongly", sentence=f"{url} was answered {status} or with another picture")


def _balances_off(ground: Ground) -> list[str]:
    """Return what is wrong with the balances by a count of our own, in case that the books' check is."""
    with ground.database.reading() as session:
        sums = select(LedgerEntry.user_id, func.sum(LedgerEntry.amount_credits)).group_by(LedgerEntry.user_id)
        entered = {row[0]: int(row[1]) for row in session.execute(sums)}
        spent = (
            select(WorkItem.user_id, func.sum(WorkItem.price_credits))
            .where(WorkItem.status.in_((ItemStatus.COMPLETED, *OPEN_ITEM_STATUSES)))
            .group_by(WorkItem.user_id)
        )
        kept = {row[0]: int(row[1]) for row in session.execute(spent)}
        granted = select(LedgerEntry.user_id, func.sum(LedgerEntry.amount_credits)).where(LedgerEntry.type == "bonus")
        given = {row[0]: int(row[1]) for row in session.execute(granted.group_by(LedgerEntry.user_id))}
        off = []
        for user in session.scalars(select(User)):
            if user.credit_balance != entered.get(user.id, 0):
                off.append(f"{user.email}: balance {user.credit_balance}, entries {entered.get(user.id, 0)}")
            if user.credit_balance != given.get(user.id, 0) - kept.get(user.id, 0):
                off.append(f"{user.email}: balance {user.credit_balance} does not fit what was delivered")
        return off
