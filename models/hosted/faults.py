"""What a call can come to besides pictures, and what is done then: one table, for everything that reads answers.

A status or a broken connection becomes one of eight kinds. The kind says how often a picture is tried again, whether it
then fails or goes back to whoever asked, and whether the breaker counts it; docs/hosted.md shows the same table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum


class FaultKind(StrEnum):
    """Why a call brought no pictures."""

    REFUSED = "refused"  # the endpoint is well and does not draw this
    UNAUTHORISED = "unauthorised"  # the token is not good for it; only the operator can change that
    EXHAUSTED = "exhausted"  # the account has no credit left
    BUSY = "busy"  # too many calls; it says when to come back, or not
    WAKING = "waking"  # scaled to zero or loading; it will be there in minutes
    BROKE = "broke"  # an error of its own, a connection cut off, or an answer that is none
    LATE = "late"  # no whole answer in the time of a call
    AWAY = "away"  # nobody is there, or not this service


class Then(StrEnum):
    """What becomes of a picture whose tries are used up."""

    FAIL = "fail"  # it is told as failed, and never charged
    RETURN = "return"  # it goes back to whoever asked for it: it is not the reason
    JUDGE = "judge"  # returned when the endpoint is broken for everybody, failed when only for this picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a kind of fault means. tries: how many calls a picture gets in all; None: as many as its time allows.

    counts: whether the breaker counts it.
    """

    tries: int | None
    then: Then
    counts: bool = False


FAILURES_TO_OPEN = 4
"""So many counted faults in a row open the breaker: as many as one picture has tries, if it is the only one."""

RULES: Mapping[FaultKind, Rule] = {
    FaultKind.REFUSED: Rule(tries=1, then=Then.FAIL),
    FaultKind.UNAUTHORISED: Rule(tries=1, then=Then.RETURN),
    FaultKind.EXHAUSTED: Rule(tries=1, then=Then.RETURN),
    FaultKind.BUSY: Rule(tries=None, then=Then.RETURN),
    FaultKind.WAKING: Rule(tries=None, then=Then.RETURN),
    FaultKind.BROKE: Rule(tries=FAILURES_TO_OPEN, then=Then.JUDGE, counts=True),
    FaultKind.LATE: Rule(tries=2, then=Then.FAIL, counts=True),
    FaultKind.AWAY: Rule(tries=FAILURES_TO_OPEN, then=Then.RETURN, counts=True),
}

_STATUSES: Mapping[int, FaultKind] = {
    **dict.fromkeys((400, 410, 413, 415, 422), FaultKind.REFUSED),
    **dict.fromkeys((401, 403, 407), FaultKind.UNAUTHORISED),
    402: FaultKind.EXHAUSTED,
    408: FaultKind.BROKE,
    429: FaultKind.BUSY,
    503: FaultKind.WAKING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for what; seconds. picture_s: from the request to its outcome, waking included."""

    connect_s: float = 10.0
    call_s: float = 240.0
    picture_s: float = 900.0
    gather_s: float = 0.05
    first_pause_s: float = 1.0
    most_pause_s: float = 30.0
    waking_pause_s: float = 5.0
    most_retry_after_s: float = 120.0
    exhausted_s: float = 900.0
    open_s: float = 15.0
    most_open_s: float = 300.0


class Fault(Exception):
    """A call that brought no pictures. `reason` is for the operator: it never holds what was sent.

    No ModelsError, because no caller of an engine ever sees it: it ends as another try, or as an outcome.
    """

    def __init__(self, kind: FaultKind, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s


def fault_of_status(status: int, headers: Mapping[str, str], *, now: datetime | None = None) -> Fault:
    """Return what an answer with this status is, when it is not 200."""
    kind = _STATUSES.get(status)
    if kind is None:
        # What redirects or is not found is no endpoint of ours; the token is not carried anywhere else.
        kind = FaultKind.AWAY if 300 <= status < 500 else FaultKind.BROKE
    retry_after_s = retry_after(headers.get("retry-after"), now=now or datetime.now(UTC))
    return Fault(kind, f"HTTP {status}", retry_after_s=retry_after_s)


def retry_after(told: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date; None when it says nothing that can be read. Never negative."""
    if told is None:
        return None
    told = told.strip()
    if told.isdecimal():
        return float(told[:9])
    try:
        when = parsedate_to_datetime(told)
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
