"""How fast this worker is, from what its engine really did: sums that forget, so that a change shows within minutes."""

import threading
from collections.abc import Callable
from time import monotonic

from models.requests import StepReport

FORGET_S = 120.0
"""Busy seconds after which an old measurement weighs 1/e."""


class Meter:
    """Counts row-steps and busy time. Thread-safe. Idle time slows nothing down; it only lowers the busy share."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._busy_s = self._row_steps = self._pictures_worth = 0.0
        self._since = clock()
        self._busy_since_report_s = 0.0

    def record(self, report: StepReport) -> None:
        """Count one engine call. A row's step, wherever it was done, is worth 1 / its steps of a picture."""
        done = (*report.rows, *report.skipped, *report.elsewhere)
        with self._lock:
            keep = max(0.0, 1.0 - report.compute_s / FORGET_S)
            self._busy_s = self._busy_s * keep + report.compute_s
            self._row_steps = self._row_steps * keep + len(done)
            self._pictures_worth = self._pictures_worth * keep + sum(1 / steps for _key, _index, steps in done)
            self._busy_since_report_s += report.compute_s

    def steps_per_s(self) -> float | None:
        """Return row-steps per busy second; None before the first."""
        with self._lock:
            return self._row_steps / self._busy_s if self._row_steps and self._busy_s else None

    def pictures_per_s(self) -> float | None:
        """Return pictures per busy second, with encoding and decoding in it; None before the first step."""
        with self._lock:
            return self._pictures_worth / self._busy_s if self._pictures_worth and self._busy_s else None

    def take_busy_share(self) -> float:
        """Return the share of time since the last call in which the engine worked, 0..1."""
        with self._lock:
            now = self._clock()
            share = self._busy_since_report_s / max(now - self._since, 1e-6)
            self._since, self._busy_since_report_s = now, 0.0
            return min(share, 1.0)
