"""The line to an endpoint: what is known of its state, and whether it may be called. A circuit breaker with reasons.

It is open until shown otherwise. Faults that count shut it after several in a row; waking, rate limits and an empty
account shut it for a while, a refused token for good. When its time is over one call at a time goes through as a probe,
with a real picture: an answer opens the line, another fault shuts it for longer.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from models.hosted.faults import FAILURES_TO_OPEN, RULES, Fault, FaultKind, Patience


class LineState(StrEnum):
    """What is known of an endpoint."""

    UNTRIED = "untried"  # nothing was asked since the start
    READY = "ready"  # its last answer was one
    WAKING = "waking"  # it starts up; asked again now and then
    BUSY = "busy"  # it has too many calls; asked again when it said so
    AWAY = "away"  # the breaker is open: nobody there, or nothing but errors
    EXHAUSTED = "exhausted"  # the account has no credit left
    UNAUTHORISED = "unauthorised"  # the token is refused; never asked again


_SHUT_BY = {
    FaultKind.UNAUTHORISED: LineState.UNAUTHORISED,
    FaultKind.EXHAUSTED: LineState.EXHAUSTED,
    FaultKind.BUSY: LineState.BUSY,
    FaultKind.WAKING: LineState.WAKING,
}
_GIVEN_UP = (LineState.AWAY, LineState.EXHAUSTED, LineState.UNAUTHORISED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReport:
    """The line at a moment. shut_for_s: until the next call may go, 0 when one may now; None: never by itself."""

    state: LineState
    reason: str | None
    shut_for_s: float | None


class Line:
    """Not thread-safe: whoever uses it holds a lock. jitter returns 0..1."""

    def __init__(
        self,
        patience: Patience,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._jitter = jitter
        self._state = LineState.UNTRIED
        self._reason: str | None = None
        self._shut_until = 0.0
        self._failures = 0  # in a row
        self._shuttings = 0  # in a row, each twice as long

    @property
    def shut_until(self) -> float:
        """When the next call may go, by the clock."""
        return self._shut_until

    def report(self) -> LineReport:
        """Say how it is."""
        left_s = max(0.0, self._shut_until - self._clock())
        return LineReport(
            state=self._state, reason=self._reason, shut_for_s=None if math.isinf(left_s) else round(left_s, 1)
        )

    def calls_allowed(self, most: int) -> int:
        """How many calls may be on their way at once now: all, one as a probe, or none."""
        if self._state in (LineState.UNTRIED, LineState.READY):
            return most
        return 0 if self._clock() < self._shut_until else 1

    def room(self, free: int, *, live: int) -> int:
        """How many more pictures to take on: what is free, or one to try the endpoint with, or none."""
        if self._state in (LineState.UNTRIED, LineState.READY):
            return free
        return min(1, free) if live == 0 and self._clock() >= self._shut_until else 0

    def is_given_up(self) -> bool:
        """Whether what waits is better returned: nobody knows when this endpoint draws again."""
        return self._state in _GIVEN_UP and self._clock() < self._shut_until

    def is_broken(self) -> bool:
        """Whether the breaker is open: it is the endpoint that fails, and not one picture."""
        return self._state is LineState.AWAY

    def note_answer(self) -> None:
        """The endpoint answered as it should."""
        self._state, self._reason = LineState.READY, None
        self._shut_until = 0.0
        self._failures = self._shuttings = 0

    def note_fault(self, fault: Fault) -> None:
        """A call brought no pictures. A refusal is an answer too: it concerns one picture only."""
        if fault.kind is FaultKind.REFUSED:
            self.note_answer()
            return
        if self._state is LineState.UNAUTHORISED:
            return
        self._reason = fault.reason
        if fault.kind in _SHUT_BY:
            self._shut(_SHUT_BY[fault.kind], self._shut_s(fault))
        elif RULES[fault.kind].counts:
            self._failures += 1
            is_shut = self._state is not LineState.READY and self._clock() < self._shut_until
            was_probe = self._state not in (LineState.UNTRIED, LineState.READY) and not is_shut
            if was_probe or (self._failures >= FAILURES_TO_OPEN and not is_shut):
                self._shut(LineState.AWAY, self._shut_s(fault))

    def pause_s(self, tries: int, fault: Fault) -> float:
        """How long a picture waits before its next try, after so many."""
        pause_s = self._grown(self._patience.first_pause_s, tries, self._patience.most_pause_s)
        return max(pause_s, self._bounded(fault.retry_after_s))

    def _shut(self, state: LineState, for_s: float) -> None:
        if state is not self._state:
            self._shuttings = 0
        self._state = state
        self._shuttings += 1
        self._shut_until = self._clock() + for_s

    def _shut_s(self, fault: Fault) -> float:
        patience = self._patience
        again = 1 + (self._shuttings if _SHUT_BY.get(fault.kind, LineState.AWAY) is self._state else 0)
        asked_s = self._bounded(fault.retry_after_s)
        match fault.kind:
            case FaultKind.UNAUTHORISED:
                return math.inf
            case FaultKind.EXHAUSTED:
                return patience.exhausted_s
            case FaultKind.BUSY:
                return max(asked_s, self._grown(patience.first_pause_s, again, patience.most_pause_s))
            case FaultKind.WAKING:
                return max(asked_s, self._grown(patience.waking_pause_s, again, patience.most_pause_s))
            case _:
                return max(asked_s, self._grown(patience.open_s, again, patience.most_open_s))

    def _bounded(self, retry_after_s: float | None) -> float:
        return min(retry_after_s or 0.0, self._patience.most_retry_after_s)

    def _grown(self, first_s: float, times: int, most_s: float) -> float:
        """Return a pause that doubles each time, of which the upper half is drawn by lot."""
        return min(most_s, first_s * 2.0 ** min(times - 1, 30)) * (0.5 + 0.5 * self._jitter())
