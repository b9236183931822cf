"""The thread that owns the engine: it steps while there is work, and hands every outcome on at once.

Nothing else happens here. Claims, SQL, PNG and uploads belong to other threads, so that the card never waits for them.
"""

import threading
from collections.abc import Callable
from time import monotonic

import structlog

from gpu_worker.desk import Desk
from gpu_worker.meter import Meter
from gpu_worker.metrics import count_call
from gpu_worker.previews import Previews
from models.engine import Engine
from models.requests import Outcome, StepReport

log = structlog.get_logger()

FIRST_CALL_S = 900.0
"""A first call may page weights in; one that meets a new size compiles for it."""
LATER_CALL_S = 120.0
"""Any later call that takes longer is a hang: leases of what is in the engine are not renewed beyond it."""


class EngineThread(threading.Thread):
    """Steps the engine until told to stop. `failure` holds what the engine raised, if it did."""

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        meter: Meter,
        on_outcome: Callable[[Outcome], None],
        previews: Previews | None = None,
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self.engine = engine
        self.failure: BaseException | None = None
        self.failed = threading.Event()
        self._desk = desk
        self._meter = meter
        self._on_outcome = on_outcome
        self._previews = previews
        self._stop_asked = threading.Event()
        self._work = threading.Event()
        self.longest_call_s = 0.0
        self._call_began: float | None = None
        self._calls = 0
        self._last_rows: frozenset[str] = frozenset()

    def wake(self) -> None:
        """Tell the thread that something was submitted or cancelled."""
        self._work.set()

    def stop(self) -> None:
        """Ask the thread to end after the step it is in."""
        self._stop_asked.set()
        self._work.set()

    def is_well(self) -> bool:
        """Tell whether the engine is idle or inside the deadline of its current call."""
        if self.failed.is_set():
            return False
        began = self._call_began
        if began is None:
            return True
        is_long = self._calls == 0 or self.engine.is_preparing()
        return monotonic() - began < (FIRST_CALL_S if is_long else LATER_CALL_S)

    def run(self) -> None:
        """Step, hand on, wait; until stopped or broken."""
        try:
            while not self._stop_asked.is_set():
                if not self.engine.has_work():
                    self._work.wait(0.5)
                    self._work.clear()
                    continue
                began = self._call_began = monotonic()
                report = self.engine.step()
                self._call_began = None
                self._calls += 1
                self.longest_call_s = max(self.longest_call_s, monotonic() - began)
                self._take(report)
        except Exception as error:  # the outermost loop of this thread: whatever the engine raised ends the worker
            log.exception("engine.broke")
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the worker: its engine, or the card under it, is of no use any more. Called from any thread.

        The error is kept, and with it everything that its frames hold on the card: to free it now would use the card.
        """
        if self.failure is None:
            self.failure = error
        self.failed.set()
        self.stop()
        self._desk.notify()

    def _take(self, report: StepReport) -> None:
        self._meter.record(report)
        count_call(report)
        if report.rows:
            self._log_batch(report)
        if self._previews is not None:
            self._previews.take(report)
        for outcome in report.outcomes:
            self._on_outcome(outcome)
        if report.outcomes:
            self._desk.notify()

    def _log_batch(self, report: StepReport) -> None:
        """Log a forward whenever the pictures in it are others than before."""
        rows = frozenset(key for key, _index, _steps in report.rows)
        if rows == self._last_rows:
            return
        self._last_rows = rows
        of = {held.key: held.claim.generation_id for held in self._desk.held()}
        log.info(
            "engine.forward",
            step_no=report.step_no,
            rows=len(rows),
            generations=sorted({of[key] for key in rows if key in of}),
            steps=[f"{index}/{steps}" for _key, index, steps in report.rows],
            compute_s=round(report.compute_s, 4),
        )
