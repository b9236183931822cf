"""The books: an honest house agrees, also while orders go on; what does not agree is named with its figures."""

import threading
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from support.house import NOW, House

from posegen.books import Books, disagreements, read_books
from posegen.errors import Conflict
from posegen.finishing import cancel_generation
from posegen.promises import checks
from posegen.retention import forget_generation

BALANCE = "a balance is the sum of its entries"
QUOTA = "the quota used is what was ordered on its day and not given back"
CHARGED = "what was charged is delivered, refunded or still open"
REFUNDED = "what was refunded is what was not delivered"
COUNTS = "the counts are those of the items"
QUOTA_TAKEN = "the quota taken is one for each picture of the unlimited tier"
FINAL = "a generation is final when its last picture is"
OWNERS = "entries and items belong to the generation's customer"
FORGOTTEN = "the entries of a forgotten generation are what it cost"
FORGOTTEN_OWNERS = "the entries of a forgotten generation belong to its customer"
GONE = "a forgotten generation is gone"
NAMED = "usage and refunds name a generation"
REFUND_FITS = "a refund is what one undelivered item cost"
GIVEN_BACK = "what was not delivered is refunded"
HAS_PICTURE = "a drawn or failed item has its picture"
AGAIN = "only what was not delivered is ordered again"
AS_FINAL = "a picture is as final as its item, and of the same order"
FILES = "a delivered picture's files are on record"

ITEM = "(SELECT id FROM work_items WHERE generation_id = '{ann}' AND status = '{status}' LIMIT 1)"
ENTRY = (
    "INSERT INTO ledger_entries (id, user_id, type, amount_credits, reference, part, description, created_at)"
    " VALUES ('e', 'ann', '{type}', {amount}, '{reference}', 'odd', 'd', CURRENT_TIMESTAMP)"
)
MANY = 60
ROWS = ("users", "entries", "generations", "items", "pictures")
BREAKS = (
    ("UPDATE users SET credit_balance = credit_balance + 1 WHERE id = 'ann'", {BALANCE}),
    (ENTRY.format(type="bonus", amount=7, reference="r"), {BALANCE}),
    ("DELETE FROM ledger_entries WHERE type = 'bonus' AND user_id = 'bob'", {BALANCE}),
    ("UPDATE users SET quota_used = quota_used + 1 WHERE id = 'sue'", {QUOTA}),
    ("UPDATE generations SET credit_charged = credit_charged + 30 WHERE id = '{ann}'", {CHARGED}),
    (f"UPDATE work_items SET price_credits = 40 WHERE id = {ITEM.replace('{status}', 'completed')}", {CHARGED}),
    ("UPDATE generations SET credit_refunded = 0 WHERE id = '{ann}'", {REFUNDED}),
    (ENTRY.format(type="refund", amount=30, reference="{ann}"), {BALANCE, REFUNDED, REFUND_FITS}),
    (
        "UPDATE ledger_entries SET amount_credits = 31 WHERE type = 'refund'",
        {BALANCE, REFUNDED, REFUND_FITS, FORGOTTEN},
    ),
    ("DELETE FROM ledger_entries WHERE type = 'refund'", {BALANCE, REFUNDED, GIVEN_BACK, FORGOTTEN}),
    ("UPDATE generations SET poses_failed = 0, poses_cancelled = 1 WHERE id = '{ann}'", {COUNTS}),
    ("UPDATE generations SET quota_charged = 1 WHERE id = '{sue}'", {QUOTA, QUOTA_TAKEN}),
    ("UPDATE generations SET status = 'processing' WHERE id = '{ann}'", {FINAL}),
    ("UPDATE work_items SET user_id = 'bob' WHERE generation_id = '{ann}'", {OWNERS, AS_FINAL}),
    ("UPDATE ledger_entries SET user_id = 'bob' WHERE type = 'usage'", {BALANCE, OWNERS}),
    ("UPDATE ledger_entries SET user_id = 'ann' WHERE type = 'refund'", {BALANCE, OWNERS, FORGOTTEN_OWNERS}),
    ("UPDATE forgotten_generations SET credit_refunded = 0", {FORGOTTEN}),
    ("UPDATE forgotten_generations SET user_id = 'ann'", {FORGOTTEN_OWNERS}),
    (
        "INSERT INTO forgotten_generations (id, user_id, credit_charged, credit_refunded, quota_kept, forgotten_at)"
        " VALUES ('{ann}', 'ann', 60, 30, 0, CURRENT_TIMESTAMP)",
        {GONE},
    ),
    ("DELETE FROM forgotten_generations", {NAMED, REFUND_FITS}),
    (ENTRY.format(type="usage", amount=-30, reference="nothing"), {BALANCE, NAMED}),
    (
        f"UPDATE work_items SET status = 'completed' WHERE id = {ITEM.replace('{status}', 'failed')}",
        {COUNTS, REFUNDED, REFUND_FITS, AS_FINAL},
    ),
    ("DELETE FROM generated_pictures WHERE generation_id = '{ann}' AND status = 'completed'", {HAS_PICTURE}),
    (
        "UPDATE work_items SET retry_of = (SELECT id FROM work_items WHERE status = 'completed' LIMIT 1)"
        " WHERE id = (SELECT id FROM work_items WHERE status = 'queued' LIMIT 1)",
        {AGAIN},
    ),
    ("UPDATE work_items SET retry_of = 'nothing' WHERE id = (SELECT id FROM work_items LIMIT 1)", {AGAIN}),
    ("UPDATE generated_pictures SET generation_id = '{bob}' WHERE generation_id = '{ann}'", {AS_FINAL}),
    ("DELETE FROM stored_objects WHERE key LIKE '%.webp'", {FILES}),
)
"""What somebody could do to an honest house, and every promise that it breaks."""
REFUSED = (
    "UPDATE users SET quota_used = -1",
    "UPDATE users SET quota_used = 1, quota_day = NULL",
    "UPDATE users SET unlimited_daily_quota = 0",
    "UPDATE generations SET credit_refunded = -30",
    "UPDATE generations SET credit_charged = -30, credit_refunded = -60",
    "UPDATE generations SET quota_charged = -1",
    "UPDATE generations SET quota_charged = 1000000",
    "UPDATE generations SET quota_day = NULL WHERE unlimited",
    "UPDATE generations SET unlimited = NOT unlimited WHERE unlimited",
    "UPDATE generations SET poses_failed = -1",
    "UPDATE generations SET total_expected_poses = 0",
    "UPDATE generations SET status = 'completed' WHERE status = 'processing'",
    "UPDATE generations SET status = 'failed' WHERE status = 'completed'",
    "UPDATE generations SET completed_at = NULL WHERE status = 'completed'",
    "UPDATE work_items SET lease_until = CURRENT_TIMESTAMP WHERE status = 'queued'",
    "UPDATE work_items SET status = 'drawing', worker = 'w', lease_until = CURRENT_TIMESTAMP, attempt = 0",
    "INSERT INTO recovery_runs (id, ended_at) VALUES (2, CURRENT_TIMESTAMP)",
    "UPDATE ledger_entries SET amount_credits = amount_credits - 1",
    "DELETE FROM ledger_entries",
)
"""What SQL itself refuses."""


def live(house: House) -> dict[str, str]:
    """Let things happen to three customers; return a generation of each: delivered and failed, open, of the quota."""
    for user in ("ann", "bob", "sue"):
        house.customer(user)
    house.subscribe("sue", a_day=10)
    forgotten = house.order("bob", 2).generation_id
    house.deliver(house.claim(1)[0])
    house.fail(house.claim(1)[0])
    with house.database.writing() as session:
        forget_generation(session, forgotten, before=NOW + timedelta(days=9))
    ann = house.order("ann", 2).generation_id
    house.deliver(house.claim(1)[0])
    house.fail(house.claim(1)[0])
    sue = house.order("sue", 3).generation_id
    house.deliver(house.claim(1)[0])
    house.fail(house.claim(1)[0])
    house.claim(1)
    cancelled = house.order("bob", 2).generation_id
    with house.database.writing() as session:
        cancel_generation(session, cancelled, "bob", now=NOW)
    return {"ann": ann, "bob": house.order("bob", 4).generation_id, "sue": sue}


def test_an_honest_house_agrees(house: House) -> None:
    assert read_books(house.database) == Books(rows=dict.fromkeys(ROWS, 0), disagreements=())

    live(house)

    books = read_books(house.database)
    assert books.agree, [str(one) for one in books.disagreements]
    assert books.rows == {"users": 3, "entries": 11, "generations": 4, "items": 11, "pictures": 4}


def test_everything_that_disagrees_is_named(house: House) -> None:
    ids = live(house)
    _open_ledger(house)

    for statement, broken in BREAKS:
        with house.database.engine.execution_options(writes=True).connect() as connection:
            changed = connection.execute(text(statement.format(**ids))).rowcount
            assert changed, statement
            assert {one.promise for one in disagreements(connection)} == broken, statement
            connection.rollback()

    every = {promise.name for check in checks() for promise in check.promises}
    assert set().union(*(broken for _, broken in BREAKS)) == every
    assert read_books(house.database).agree


def test_a_disagreement_is_told_with_ids_and_figures(house: House) -> None:
    house.customer("ann", credits=100)
    generation_id = house.order("ann", 2).generation_id
    with house.database.writing() as session:
        session.execute(text("UPDATE users SET credit_balance = 41"))
        session.execute(text("UPDATE generations SET credit_charged = 90"))

    told = [str(one) for one in read_books(house.database).disagreements]

    assert told == [
        f"{BALANCE}: user ann: balance 41, entries 40",
        f"{CHARGED}: generation {generation_id}: charged 90, usage_entries 60, delivered 0, undelivered 0, open 60",
    ]


def test_the_books_agree_at_every_moment_while_customers_order_and_workers_draw(house: House) -> None:
    for user in ("ann", "bob"):
        house.customer(user, credits=10_000_000)
    house.subscribe("bob", a_day=1_000_000)
    over, deadline = threading.Event(), monotonic() + 60
    broken: list[BaseException] = []

    def busy(user: str) -> None:
        number = 0
        try:
            while not over.is_set():
                number += 1
                placed = house.order(user, 3)
                for claim in house.claim(2, worker=user):
                    (house.fail if number % 3 == 0 else house.deliver)(claim)
                if number % 2:
                    with suppress(Conflict), house.database.writing() as session:
                        cancel_generation(session, placed.generation_id, user, now=NOW)
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=busy, args=(user,)) for user in ("ann", "bob")]
    for thread in threads:
        thread.start()
    try:
        books = [read_books(house.database)]
        while not (len(books) > 15 and books[-1].rows["entries"] > MANY) and monotonic() < deadline and not broken:
            books.append(read_books(house.database))
    finally:
        over.set()
        for thread in threads:
            thread.join(60)

    assert not broken
    assert [str(one) for each in books for one in each.disagreements] == []
    assert books[-1].rows["entries"] > MANY, "nothing went on meanwhile"


def test_sql_itself_refuses_what_the_code_promises_never_to_do(house: House) -> None:
    live(house)

    for statement in REFUSED:
        assert isinstance(_outcome(house, statement), IntegrityError), statement


def _outcome(house: House, statement: str) -> Exception | None:
    try:
        with house.database.writing() as session:
            session.execute(text(statement))
    except IntegrityError as error:
        return error
    return None


def _open_ledger(house: House) -> None:
    """Take away what protects the ledger, as somebody with the database's password could."""
    with house.database.without_limits() as connection:
        _drop_triggers(connection, house.database.dialect)


def _drop_triggers(connection: Connection, dialect: str) -> None:
    if dialect == "postgresql":
        connection.execute(text("DROP TRIGGER ledger_entries_only_added ON ledger_entries"))
        return
    for change in ("update", "delete"):
        connection.execute(text(f"DROP TRIGGER ledger_entries_no_{change}"))
