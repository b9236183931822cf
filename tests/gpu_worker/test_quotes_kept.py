"""What a customer was quoted, against what then happened: a worker's own measurements, a line, and the clock."""

from typing import TYPE_CHECKING

from posegen.database import database_now
from posegen.orders import Order
from posegen.quotes import Quote, quote_order

if TYPE_CHECKING:
    from datetime import datetime

    from .conftest import Bench

FACTOR = 2.5
"""An estimate may be off by so much; the worker shares its processor with other tests."""
SLACK_S = 0.5


def now(bench: "Bench") -> "datetime":
    with bench.house.database.reading() as session:
        return database_now(session)


def quoted(bench: "Bench", user_id: str, *, variations: int, poses: int) -> Quote:
    order = Order(
        project_id=bench.house.project(user_id), pose_ids=tuple(bench.house.pose_ids[:poses]), variations=variations
    )
    with bench.house.database.reading() as session:
        return quote_order(session, user_id, order, profile_name="tiny", now=database_now(session))


def assert_near(quoted_s: float | None, really_s: float) -> None:
    assert quoted_s is not None
    assert really_s / FACTOR - SLACK_S <= quoted_s <= really_s * FACTOR + SLACK_S, (quoted_s, really_s)


def test_an_order_takes_about_as_long_as_it_was_quoted(bench: "Bench") -> None:
    bench.engine.step_s = 0.06
    bench.thread.start()
    bench.house.order("bob", 4, now=now(bench), steps=8)
    bench.hands.draw_everything()  # the worker has measured itself
    bench.keeper.report_now()
    for user_id in ("ann", "bob"):
        bench.house.order(user_id, 12, now=now(bench), steps=8)

    quote = quoted(bench, "bob", variations=3, poses=4)
    placed = bench.house.order("bob", 12, now=now(bench), steps=8)
    bench.hands.draw_everything()

    assert (quote.total_pictures, quote.cost_credits) == (12, 360)
    done = bench.house.generation(placed.generation_id)
    assert done.started_at is not None
    assert done.completed_at is not None
    assert_near(quote.queue_wait_s, (done.started_at - done.created_at).total_seconds())
    assert_near(quote.drawing_s, (done.completed_at - done.started_at).total_seconds())
