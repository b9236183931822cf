"""Claiming: takes from SQL what the engine has room for, and gives back what it will not draw.

`draw` is what a ring runs. It keeps the engine fed for up to a minute and never waits for pictures: with rows free and
nothing to claim it returns, so that the next ring wakes the worker at once.
"""

from time import monotonic, sleep

import structlog

from gpu_worker.desk import Desk, Held, Stage
from gpu_worker.detecting import LOOK_EVERY_S, Detecting
from gpu_worker.engine_thread import EngineThread
from gpu_worker.finisher import Finisher
from gpu_worker.pictures import about_claim, request_for
from models.engine import Engine
from models.errors import CardFailed, RequestRefused
from posegen.announcing import Announcer
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.errors import DatabaseAway
from posegen.finishing import mark_started
from posegen.leases import Claim, Claimant, claim_items, give_back, has_queued
from posegen.poses.errors import PoseError
from posegen.queueing import Room
from posegen.recovery import return_lost

log = structlog.get_logger()

DRAW_S = 60.0
"""A job ends after this and rings again, so that RQ's view of the worker stays fresh."""
DATABASE_PAUSE_S = 1.0
UNFINISHED_PER_ROW = 3
"""Finished pictures that may wait to be stored, per row of the engine, before nothing more is claimed."""


class Hands:
    """One process's claimer. `draw` runs in one thread at a time; `begin_drain` may come from a signal handler."""

    def __init__(
        self,
        announcer: Announcer,
        claimant: Claimant,
        desk: Desk,
        engine_thread: EngineThread,
        finisher: Finisher,
        detecting: Detecting | None = None,
    ) -> None:
        self._announcer = announcer
        self._claimant = claimant
        self._desk = desk
        self._thread = engine_thread
        self._engine: Engine = engine_thread.engine
        self._finisher = finisher
        self._detecting = detecting
        self._is_draining = False

    def begin_drain(self) -> None:
        """Claim nothing more. What is held is finished or given back by whoever ends the process.

        Called from a signal handler: it may interrupt any line of the claiming thread, so it takes no lock.
        """
        self._is_draining = True
        self._finisher.begin_drain()
        if self._detecting is not None:
            self._detecting.begin_drain()

    def draw(self, rung_by: str) -> None:
        """Keep the engine fed until nothing is claimable or a minute has passed; then ring again if work is left."""
        until = monotonic() + DRAW_S
        self._wake_detecting()
        while monotonic() < until and not self._is_ending():
            self._wake_detecting(at_most_every_s=LOOK_EVERY_S)
            try:
                if not self._feed(until):
                    return
            except DatabaseAway:
                log.warning("claim.database_away")
                sleep(DATABASE_PAUSE_S)
        if not self._is_ending():
            self._announcer.ring(rung_by, times=1)

    def draw_everything(self) -> None:
        """Draw until nothing is queued and nothing is held (`--burst`)."""
        self._wake_detecting()
        while not self._is_ending():
            try:
                if not self._feed(monotonic() + DRAW_S) and not self._desk.held() and not self._is_detecting():
                    return
                if self._is_shut():
                    log.warning("burst.engine_shut")
                    return
            except DatabaseAway:
                log.warning("claim.database_away")
                sleep(DATABASE_PAUSE_S)
            self._desk.wait(0.2, seen=self._desk.changes)

    def give_back(self) -> int:
        """Return what is still in the engine to the queue; return how many. Raises DatabaseAway.

        What is there for the second time is delivered as it was drawn first.
        Of a failed engine each may have caused it: that is counted as a crash, as when this process had died over
        them, unless the card failed by itself. The engine is not asked any more then.
        """
        self._finisher.end_redraws()
        failure = self._thread.failure
        if failure is None:
            return self._give_back_undrawn()
        return self._give_back_lost(crash=not (isinstance(failure, CardFailed) and failure.by_itself))

    def _give_back_lost(self, *, crash: bool) -> int:
        lost: dict[str, list[Held]] = {}
        for held in self._desk.held(Stage.ENGINE):
            lost.setdefault(held.claim.generation_id, []).append(held)
        returned = 0
        for generation_id, of_it in lost.items():
            attempts = {held.claim.item_id: held.claim.attempt for held in of_it}
            with self._announcer.writing(Act.COMMIT_RETURN) as session:
                done = return_lost(session, generation_id, attempts, crash=crash, now=database_now(session))
            for held in of_it:
                self._desk.drop(held.key)
            log.warning("pictures.lost", generation_id=generation_id, items=sorted(attempts), given_up=done.failed)
            if done.requeued:
                self._announcer.ring(generation_id, times=1)
            returned += done.requeued
        return returned + (self._detecting.give_back(crash=crash) if self._detecting is not None else 0)

    def _give_back_undrawn(self) -> int:
        # By id, as everybody locks items, so that a lease renewal or a cancel beside us cannot deadlock.
        undrawn = sorted(self._desk.held(Stage.ENGINE), key=lambda held: held.claim.item_id)
        for held in undrawn:
            self._engine.cancel(held.key)
        with self._announcer.writing(Act.COMMIT_RETURN) as session:
            now = database_now(session)
            returned = sum(give_back(session, held.claim.item_id, held.claim.attempt, now=now) for held in undrawn)
        for held in undrawn:
            self._desk.drop(held.key)
        if undrawn:
            self._announcer.ring(undrawn[0].claim.generation_id, times=1)
        return returned + (self._detecting.give_back() if self._detecting is not None else 0)

    def end_overdue_detection(self) -> None:
        """Give up a detector that hangs. Raises DatabaseAway."""
        if self._detecting is not None:
            self._detecting.end_overdue()

    def forget(self, lost: list[Held]) -> None:
        """Drop claims that SQL says are no longer ours: their rows leave the engine at its next step."""
        for held in lost:
            self._engine.cancel(held.key)
            self._desk.drop(held.key)
        self._thread.wake()

    def _wake_detecting(self, *, at_most_every_s: float = 0.0) -> None:
        if self._detecting is not None:
            self._detecting.wake(at_most_every_s=at_most_every_s)

    def _is_detecting(self) -> bool:
        return self._detecting is not None and self._detecting.is_busy()

    def _is_ending(self) -> bool:
        return self._is_draining or self._thread.failed.is_set()

    def _feed(self, until: float) -> bool:
        """Claim what there is room for. False when there is room but nothing to claim."""
        seen = self._desk.changes
        room = self._room()
        if self._is_shut() and not self._is_work_queued():
            return False  # whoever orders next rings
        if room.free_rows < 1 or room.holds_suspect or self._is_behind() or not self._thread.is_well():
            self._desk.wait(min(1.0, until - monotonic()), seen=seen)
            return True
        claims = self._claim(room)
        for claim in claims:
            with about_claim(claim):
                log.info("picture.claimed", attempt=claim.attempt, alone=claim.alone)
                self._submit(claim)
        if claims:
            self._thread.wake()
            self._tell_started(claims)
            return True
        if room.size_px is None or not self._is_work_queued():
            return False
        self._desk.wait(min(1.0, until - monotonic()), seen=seen)  # another size waits for the engine to run dry
        return True

    def _room(self) -> Room:
        return Room(
            free_rows=self._engine.free_rows(),
            size_px=self._engine.current_size(),
            loras=self._engine.current_loras() or (),
            holds_suspect=self._desk.holds_suspect(),
        )

    def _is_shut(self) -> bool:
        """Tell whether the engine is empty and takes nothing all the same: a hosted endpoint that draws nothing now."""
        return self._engine.free_rows() < 1 and not self._engine.has_work() and not self._desk.held()

    def _is_behind(self) -> bool:
        """Tell whether more pictures wait for the store and SQL than will soon be through: then none are drawn."""
        return len(self._desk.held(Stage.FINISH)) > UNFINISHED_PER_ROW * self._engine.max_batch

    def _claim(self, room: Room) -> list[Claim]:
        with self._announcer.writing(Act.COMMIT_CLAIM) as session:
            return claim_items(session, self._claimant, room, now=database_now(session))

    def _is_work_queued(self) -> bool:
        with self._announcer.database.reading() as session:
            return has_queued(session, self._claimant.profile, follows_poses=self._claimant.follows_poses)

    def _submit(self, claim: Claim) -> None:
        key = self._desk.take(claim)
        if claim.alone and not self._await_solitude(key):
            return
        try:
            self._engine.submit(request_for(claim))
        except (RequestRefused, PoseError) as error:
            self._finisher.refuse(claim, key, code=error.code, message=str(error))
        except Exception as error:  # whatever it was, the claim must not stay on the desk and be renewed for ever
            log.exception("claim.not_submitted")
            self._finisher.give_up(claim, key, error)

    def _await_solitude(self, key: str) -> bool:
        """Wait until no redraw is in the engine: one may have begun while this suspect was claimed.

        False when the claim was lost meanwhile, or this process ends; then it is given back.
        """
        while True:
            seen = self._desk.changes
            held = self._desk.held(Stage.ENGINE)
            if self._is_ending() or all(one.key != key for one in held):
                return False
            if all(one.first is None for one in held):
                return True
            self._desk.wait(1.0, seen=seen)

    def _tell_started(self, claims: list[Claim]) -> None:
        for generation_id in dict.fromkeys(claim.generation_id for claim in claims):
            with self._announcer.writing(Act.COMMIT_STARTED) as session:
                mark_started(session, generation_id, now=database_now(session))
