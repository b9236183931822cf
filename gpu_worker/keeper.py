"""The thread that keeps this process alive in SQL: renews leases, notices lost claims, reports the worker's state.

It survives a database that is away: leases may lapse then, and the fence decides what still counts.
"""

import threading
from collections.abc import Callable
from time import monotonic

import structlog

from gpu_worker.desk import Desk
from gpu_worker.engine_thread import EngineThread
from gpu_worker.hands import Hands
from posegen.crash_points import Act
from posegen.database import Database, database_now
from posegen.detections import DetectionClaim
from posegen.errors import DatabaseAway
from posegen.leases import Claim, renew_leases, still_held
from posegen.workforce import HEARTBEAT_EVERY_S, WorkerReport, report

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
"""How soon a cancelled picture is noticed by the worker that draws it."""


class Keeper(threading.Thread):
    """Renews, looks, reports. Starts before the engine is loaded; `watch` hands it the rest."""

    def __init__(self, database: Database, state: Callable[[], WorkerReport], *, lease_s: float) -> None:
        super().__init__(name="keeper", daemon=True)
        self._database = database
        self._state = state
        self._lease_s = lease_s
        self._ended = threading.Event()
        self._watched: tuple[Desk, EngineThread, Hands] | None = None
        self._renewed = 0.0
        self._reported = 0.0

    def watch(self, desk: Desk, engine_thread: EngineThread, hands: Hands) -> None:
        """Keep these claims from now on."""
        self._watched = (desk, engine_thread, hands)

    def run(self) -> None:
        """Look every second until ended."""
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._look()
            except DatabaseAway:
                log.warning("keeper.database_away")
            except Exception:  # this thread's outermost frame: without it every lease of the process would lapse
                log.exception("keeper.broke")

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def report_now(self) -> None:
        """Write the worker's row. Raises DatabaseAway."""
        with self._database.writing(Act.COMMIT_REPORT) as session:
            report(session, self._state(), now=database_now(session))
        self._reported = monotonic()

    def _look(self) -> None:
        if self._watched is not None:
            self._keep_claims(*self._watched)
        if monotonic() - self._reported >= HEARTBEAT_EVERY_S:
            self.report_now()

    def _keep_claims(self, desk: Desk, engine_thread: EngineThread, hands: Hands) -> None:
        hands.end_overdue_detection()
        held = desk.renewable(engine_is_well=engine_thread.is_well())
        detection = desk.detection()
        pairs = [_pair(one.claim) for one in held]
        if detection is not None:
            pairs.append(_pair(detection.claim))
        if not pairs:
            return
        if monotonic() - self._renewed >= self._lease_s / 4:
            with self._database.writing(Act.COMMIT_RENEWAL) as session:
                kept = renew_leases(session, pairs, lease_s=self._lease_s, now=database_now(session))
            self._renewed = monotonic()
        else:
            with self._database.reading() as session:
                kept = still_held(session, pairs)
        here_still = {one.key for one in desk.held()}
        lost = [one for one in held if _pair(one.claim) not in kept and one.key in here_still]
        if lost:
            log.info("claims.lost", items=[one.claim.item_id for one in lost])
            hands.forget(lost)
        if detection is not None and _pair(detection.claim) not in kept and desk.drop_detection(detection.claim):
            log.info("claims.lost", items=[detection.claim.item_id])


def _pair(claim: Claim | DetectionClaim) -> tuple[str, int]:
    return claim.item_id, claim.attempt
