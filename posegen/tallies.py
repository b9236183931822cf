"""What happens in the domain, counted for Prometheus once it is committed: what is rolled back never happened.

Counters live in this process and begin at zero with it; Prometheus adds the processes up. Labels are from closed sets
(statuses, event types, profiles), never ids, names or words of a customer. How much waits is no counter: it is read
from SQL when somebody asks (posegen.overview).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from sqlalchemy.orm import Session

disable_created_metrics()  # type: ignore[no-untyped-call]  # or each counter would be accompanied by the time of its birth
REGISTRY = CollectorRegistry()
"""Everything that this process tells Prometheus."""
ProcessCollector(registry=REGISTRY)
_HAPPENED = "happened"

ORDERS = Counter(
    "posegen_orders", "Orders taken; kind retry repeats the failed pictures of another.", ["kind"], registry=REGISTRY
)
ORDERED = Counter("posegen_pictures_ordered", "Pictures ordered.", ["profile"], registry=REGISTRY)
CHARGED = Counter("posegen_credits_charged", "Credits paid for orders.", registry=REGISTRY)
REFUNDS = Counter("posegen_refunds", "Pictures whose price was given back.", registry=REGISTRY)
REFUNDED = Counter("posegen_credits_refunded", "Credits given back for pictures.", registry=REGISTRY)
CLAIMS = Counter(
    "posegen_claims",
    "Pictures that a worker took from the queue; again true: not for the first time.",
    ["profile", "again"],
    registry=REGISTRY,
)
FINAL = Counter(
    "posegen_pictures", "Pictures that became final: completed, failed or cancelled.", ["state"], registry=REGISTRY
)
RETURNED = Counter(
    "posegen_pictures_returned",
    "Pictures that went back to the queue: given_back undrawn, or lost by a worker, of which crash may be their doing.",
    ["reason"],
    registry=REGISTRY,
)
EVENTS = Counter("posegen_events", "Events recorded for frontends.", ["type"], registry=REGISTRY)


def happened(session: Session, counter: Counter, amount: float = 1, /, **labels: str) -> None:
    """Count something when the session's transaction is committed. Only transactions of Database.writing count."""
    session.info.setdefault(_HAPPENED, []).append((counter.labels(**labels) if labels else counter, amount))


@contextmanager
def counted(session: Session) -> Iterator[None]:
    """Run a block that ends with the session's commit, then count what happened in it."""
    yield
    for counter, amount in session.info.pop(_HAPPENED, ()):
        counter.inc(amount)
