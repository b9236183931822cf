"""Taking an order at the door: the rate, one transaction, and only then the bell.

The answer is made after the commit, so a 202 is never said of an order that was not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from api.access import Caller
from api.rates import Standing
from api.service import Service
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.orders import Order, PlacedOrder, place_order
from posegen.quotes import Quote, quote_order
from posegen.workforce import service_profile, useful_rings


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOrder:
    """A placed order, and what is left of its customer's rates."""

    placed: PlacedOrder
    standings: Sequence[Standing]


def take_order(service: Service, caller: Caller, order: Order, *, idempotency_key: str | None) -> TakenOrder:
    """Place the order and ring for it. Raises what place_order raises, TooManyRequests and DatabaseAway.

    Redis away is no error: the order is kept, and rung for when Redis returns.
    """
    standings = service.rates.count_order(caller.id, pictures=order.total_pictures)
    with service.announcer.writing(Act.COMMIT_ORDER) as session:
        now = database_now(session)
        profile_name = service_profile(session, service.settings.profile)
        placed = place_order(
            session, caller.id, order, profile_name=profile_name, idempotency_key=idempotency_key, now=now
        )
        rings = useful_rings(session, profile_name, placed.total_pictures, now=now)
    service.announcer.ring(placed.generation_id, times=rings)
    return TakenOrder(placed=placed, standings=standings)


def give_quote(service: Service, caller: Caller, order: Order) -> Quote:
    """Return what the order would cost and how long it would take. Raises what quote_order raises, and DatabaseAway."""
    with service.database.reading() as session:
        profile_name = service_profile(session, service.settings.profile)
        return quote_order(session, caller.id, order, profile_name=profile_name, now=database_now(session))
