"""Taking an order at the door: the rate, one transaction, and only then the bell.

The answer is made after the commit, so a 202 is never said of an order that was not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from api.access import Caller
from api.rates import Standing
from api.request_log import current_request_id
from api.service import Service
from models.loras import shelf
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.generations import owned_generation
from posegen.orders import Order, PlacedOrder, note_request, place_order
from posegen.quotes import Quote, quote_order
from posegen.retrying import retry_generation
from posegen.workforce import service_profile, useful_rings


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOrder:
    """A placed order, and what is left of its customer's rates; nothing is told of them to a repeat."""

    placed: PlacedOrder
    standings: Sequence[Standing]


class _Admission:
    """Counts a new order against its customer's rates. A repeat is answered again, so it is never counted."""

    def __init__(self, service: Service, caller: Caller) -> None:
        self._rates = service.rates
        self._user_id = caller.id
        self.is_new = False
        self.standings: Sequence[Standing] = ()

    def __call__(self, pictures: int) -> None:
        """Count an order of so many pictures. Raises TooManyRequests."""
        self.is_new = True
        self.standings = self._rates.count_order(self._user_id, pictures=pictures)


def take_order(service: Service, caller: Caller, order: Order, *, idempotency_key: str | None) -> TakenOrder:
    """Place the order and ring for it. Raises what place_order raises, TooManyRequests and DatabaseAway.

    Redis away is no error: the order is kept, and rung for when Redis returns. A repeat of an order that was taken
    gets its answer whatever the rates, counts against none and rings for nobody.
    """
    admission = _Admission(service, caller)
    with service.announcer.writing(Act.COMMIT_ORDER) as session:
        now = database_now(session)
        profile_name = service_profile(session, service.settings.profile)
        placed = place_order(
            session,
            caller.id,
            order,
            profile_name=profile_name,
            known_loras=tuple(shelf(service.settings.loras_folder)),
            idempotency_key=idempotency_key,
            admit=admission,
            now=now,
        )
        if admission.is_new:
            note_request(session, placed.generation_id, current_request_id())
        rings = useful_rings(session, profile_name, placed.total_pictures, now=now)
    return _taken(service, placed, admission, rings=rings)


def take_retry(service: Service, caller: Caller, generation_id: str, *, idempotency_key: str | None) -> TakenOrder:
    """Order a generation's failed pictures again and ring for them. Raises what retry_generation and take_order do.

    It counts against the rates as the order that it is.
    """
    admission = _Admission(service, caller)
    rings = 0
    with service.announcer.writing(Act.COMMIT_ORDER) as session:
        now = database_now(session)
        profile_name = service_profile(session, service.settings.profile)
        placed = retry_generation(
            session,
            caller.id,
            generation_id,
            profile_name=profile_name,
            idempotency_key=idempotency_key,
            admit=admission,
            now=now,
        )
        if admission.is_new:
            note_request(session, placed.generation_id, current_request_id())
            drawn_by = owned_generation(session, caller.id, placed.generation_id).profile
            rings = useful_rings(session, drawn_by, placed.total_pictures, now=now)
    return _taken(service, placed, admission, rings=rings)


def give_quote(service: Service, caller: Caller, order: Order) -> Quote:
    """Return what the order would cost and how long it would take. Raises what quote_order raises, and DatabaseAway."""
    with service.database.reading() as session:
        profile_name = service_profile(session, service.settings.profile)
        return quote_order(
            session,
            caller.id,
            order,
            profile_name=profile_name,
            known_loras=tuple(shelf(service.settings.loras_folder)),
            now=database_now(session),
        )


def _taken(service: Service, placed: PlacedOrder, admission: _Admission, *, rings: int) -> TakenOrder:
    if admission.is_new:
        service.announcer.ring(placed.generation_id, times=rings)
    return TakenOrder(placed=placed, standings=admission.standings)
