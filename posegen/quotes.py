"""What an order would cost and how long it would take, without placing it: checked and priced as the order itself."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from posegen.estimates import estimate_of_order
from posegen.orders import Order, check_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The answer. In the unlimited tier `quota_pictures` are taken from the quota and nothing is paid.

    queue_wait_s: until the first picture is begun; drawing_s: from then until the last. None while no speed is known.
    """

    total_pictures: int
    cost_credits: int
    quota_pictures: int
    queue_wait_s: float | None
    drawing_s: float | None


def quote_order(
    session: Session,
    user_id: str,
    order: Order,
    *,
    profile_name: str,
    known_loras: Collection[str] = (),
    now: datetime,
) -> Quote:
    """Quote an order. Writes nothing, and asks for neither balance nor quota. Raises what check_order raises."""
    checked = check_order(session, user_id, order, profile_name=profile_name, known_loras=known_loras, now=now)
    estimate = estimate_of_order(
        session,
        user_id,
        pictures=order.total_pictures,
        unlimited=checked.unlimited,
        profile=checked.drawn_by.name,
        now=now,
    )
    return Quote(
        total_pictures=order.total_pictures,
        cost_credits=checked.total_credits,
        quota_pictures=checked.total_quota,
        queue_wait_s=estimate.queue_wait_s,
        drawing_s=estimate.drawing_s,
    )
