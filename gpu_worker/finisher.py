"""What happens to a picture after the engine, in a pool of threads: files, store, and the fenced delivery in SQL.

Order matters: the files are stored first, under keys that contain the attempt, then one transaction delivers. A crash
in between leaves files that no row names; a lost claim deletes its own. Trouble that passes is waited for as long as
the picture's lease is kept; then storage trouble fails the picture with its refund, and a silent database lets the
lease lapse.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event, Lock
from time import monotonic

import stamina
import structlog

from gpu_worker.desk import Desk, Stage, key_of
from gpu_worker.drawn import Drawn, drawn_of
from gpu_worker.judging import Judge
from gpu_worker.metrics import POSE_SCORES, REDRAWS
from gpu_worker.pictures import about_claim, encode_picture
from gpu_worker.redrawing import Redrawing, better_of
from models.profiles import Profile
from models.requests import Cancelled, Failed, Finished, Outcome, Returned
from posegen.announcing import Announcer
from posegen.crash_points import Act
from posegen.database import database_now
from posegen.errors import DatabaseAway, PosegenError, StorageAway
from posegen.estimates import outlook_of_generation
from posegen.finishing import DrawnPicture, StoredFile, deliver_picture, fail_picture, is_stored
from posegen.leases import Claim, acquit, give_back
from posegen.storage import Storage

log = structlog.get_logger()

FINISH_S = 120.0
"""How long a finished picture may wait for the store and the database before it is let go."""
STORE_S = 60.0
DATABASE_S = 90.0
MOST_ATTEMPTS = 3
"""A picture that breaks its finishing in a way nobody foresaw is tried so often."""
MOST_BROKEN_CALLS = 6
"""A picture during which a hosted endpoint broke in so many claims is given up: by then minutes of probes went by."""
BROKEN_MESSAGE = "Something went wrong on our side while this picture was finished; its credits are back."
STORAGE_MESSAGE = "The finished picture could not be stored; its credits are back."


class Finisher:
    """The pool. `take` is called by the engine's thread and returns at once.

    most_waiting: with more pictures waiting here, none waits for a slow judge.
    """

    def __init__(
        self,
        announcer: Announcer,
        storage: Storage,
        desk: Desk,
        *,
        worker: str,
        profile: Profile,
        threads: int = 4,
        store_s: float = STORE_S,
        is_engine_lost: Callable[[], bool] = lambda: False,
        judge: Judge | None = None,
        redrawing: Redrawing | None = None,
        most_waiting: int = 16,
    ) -> None:
        self._announcer = announcer
        self._storage = storage
        self._desk = desk
        self._worker = worker
        self._profile = profile
        self._store_s = store_s
        self._is_engine_lost = is_engine_lost
        self._judge = judge
        self._redrawing = redrawing
        self._most_waiting = most_waiting
        self._kept: list[Outcome] = []
        self._leaving = Event()
        self._ending_redraws = Lock()
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="finish")

    def take(self, outcome: Outcome) -> None:
        """Finish an outcome of the engine in the pool."""
        if isinstance(outcome, Cancelled):
            self._desk.drop(outcome.key)
            return
        claim = self._desk.begin_finish(outcome.key, within_s=FINISH_S)
        if claim is not None:
            self._pool.submit(self._about, claim, lambda: self._finish(claim, outcome))

    def refuse(self, claim: Claim, key: str, *, code: str, message: str) -> None:
        """Fail a claim that never reached the engine."""
        if self._desk.begin_finish(key, within_s=FINISH_S) is not None:
            self._pool.submit(self._about, claim, lambda: self._guarded(key, lambda: self._fail(claim, code, message)))

    def give_up(self, claim: Claim, key: str, error: Exception) -> None:
        """Take a claim off the desk after something nobody foresaw: queued again, or failed when it keeps happening."""
        if self._desk.begin_finish(key, within_s=FINISH_S) is not None:
            self._pool.submit(self._about, claim, lambda: self._guarded(key, lambda: self._again_or_fail(claim, error)))

    def begin_drain(self) -> None:
        """Have nothing drawn once more. Called from a signal handler, so it takes no lock."""
        if self._redrawing is not None:
            self._redrawing.begin_drain()

    def end_redraws(self) -> None:
        """Deliver the first drawing of every picture that is in the engine once more."""
        with self._ending_redraws:
            for first in self._redrawing.end(within_s=FINISH_S) if self._redrawing is not None else ():
                self._pool.submit(self._about, first.claim, partial(self._deliver_first, first, key_of(first.claim)))

    def close(self) -> None:
        """Finish what was taken, but no longer wait for a store or a database that is away; then end the threads."""
        self._leaving.set()
        if self._judge is not None:
            self._judge.hurry()
        self.end_redraws()
        self._pool.shutdown(wait=True)

    def _about(self, claim: Claim, finish: Callable[[], None]) -> None:
        """Run something with every line that it logs about the picture of this claim."""
        with about_claim(claim):
            finish()

    def _finish(self, claim: Claim, outcome: Finished | Failed | Returned) -> None:
        first = self._desk.first_of(outcome.key)
        if self._desk.is_overdue(outcome.key):
            self._desk.drop(outcome.key)  # its lease was let go while it waited; somebody else draws it
        elif isinstance(outcome, Finished):
            self._guarded(outcome.key, lambda: self._acquit_and_deliver(claim, outcome, first))
        elif first is not None:
            log.warning("picture.not_redrawn", code=outcome.error.code)
            self._deliver_first(first, outcome.key)
        elif isinstance(outcome, Returned) and not (outcome.suspect and claim.attempt >= MOST_BROKEN_CALLS):
            self._guarded(outcome.key, lambda: self._give_back(claim, outcome))
        else:
            self._guarded(outcome.key, lambda: self._fail(claim, outcome.error.code, str(outcome.error)))
        if self._is_engine_lost():
            self._kept.append(outcome)  # freeing its pinned memory would use a card that may be broken

    def _deliver_first(self, first: Drawn, key: str) -> None:
        """Deliver a picture whose second drawing came to nothing. key: under which it is on the desk."""
        REDRAWS.labels(kept="first").inc()
        self._guarded(key, lambda: self._deliver_or_give_up(first))

    def _guarded(self, key: str, finish: Callable[[], None]) -> None:
        """Run the outermost step of a finishing thread: whatever happens, the desk is cleared and it is logged."""
        try:
            finish()
        except DatabaseAway:
            log.error("finish.database_away", key=key)
        except Exception:  # a finishing thread's outermost frame: the lease lapses and the picture is drawn again
            log.exception("finish.broke", key=key)
        finally:
            self._desk.drop(key)

    def _acquit_and_deliver(self, claim: Claim, outcome: Finished, first: Drawn | None) -> None:
        if claim.alone:
            try:
                with self._announcer.writing(Act.COMMIT_RENEWAL) as session:
                    acquit(session, claim.item_id, claim.attempt)
                self._desk.acquit(outcome.key)
            except DatabaseAway:  # it stays alone until it is delivered
                log.warning("finish.database_away", key=outcome.key)
        try:
            drawn = self._judged(drawn_of(claim, outcome))
        except Exception as error:  # no pixels: never an endless circle of drawing and losing it
            log.exception("finish.broke")
            if first is None:
                self._again_or_fail(claim, error)
            else:
                self._deliver_first(first, outcome.key)
            return
        if first is not None:
            self._deliver_or_give_up(self._better_of(first, drawn))
        elif self._redrawing is None or not self._redrawing.draw_again(drawn, within_s=FINISH_S):
            self._deliver_or_give_up(drawn)

    def _judged(self, drawn: Drawn) -> Drawn:
        """Return the drawing with its score, if it follows a pose and somebody can tell how well.

        A card that failed is not asked for anything, and it may be the detector's too.
        """
        if self._judge is None or not drawn.pose_applied or drawn.claim.people is None or self._is_engine_lost():
            return drawn
        is_behind = len(self._desk.held(Stage.FINISH)) > self._most_waiting
        return replace(drawn, pose_score=self._judge.score(drawn.picture, drawn.claim.people, is_behind=is_behind))

    def _better_of(self, first: Drawn, second: Drawn) -> Drawn:
        better = better_of(first, second)
        REDRAWS.labels(kept="first" if better is first else "second").inc()
        return replace(better, denoise_s=first.denoise_s + second.denoise_s)

    def _deliver_or_give_up(self, drawn: Drawn) -> None:
        try:
            self._deliver(drawn)
        except DatabaseAway:
            raise
        except Exception as error:  # an encoder, a constraint: never an endless circle of drawing and losing it
            log.exception("finish.broke")
            self._again_or_fail(drawn.claim, error)

    def _again_or_fail(self, claim: Claim, error: Exception) -> None:
        if claim.attempt >= MOST_ATTEMPTS:
            self._fail(claim, type(error).__name__.lower(), BROKEN_MESSAGE)
            return
        self._queue_again(claim)
        self._announcer.ring(claim.generation_id, times=1)

    def _give_back(self, claim: Claim, outcome: Returned) -> None:
        """Queue a picture that this engine cannot draw now. The reconciler rings for it, with pauses between."""
        self._queue_again(claim)
        log.warning("picture.returned", attempt=claim.attempt, code=outcome.error.code, suspect=outcome.suspect)

    def _queue_again(self, claim: Claim) -> None:
        for attempt in self._tries(DatabaseAway, DATABASE_S):
            with attempt, self._announcer.writing(Act.COMMIT_RETURN) as session:
                give_back(session, claim.item_id, claim.attempt, now=database_now(session))

    def _deliver(self, drawn: Drawn) -> None:
        began = monotonic()
        claim = drawn.claim
        encoded = encode_picture(drawn, self._profile)
        stem = f"generations/{claim.generation_id}/{claim.variation_key}-a{claim.attempt}"
        files = [
            (StoredFile(key=f"{stem}.png", content_type="image/png", size_bytes=len(encoded.png)), encoded.png),
            (
                StoredFile(key=f"{stem}-thumb.webp", content_type="image/webp", size_bytes=len(encoded.thumbnail)),
                encoded.thumbnail,
            ),
        ]
        if not self._store(files):
            self._fail(claim, StorageAway.code, STORAGE_MESSAGE)
            self._remove(file.key for file, _content in files)
            return
        picture = DrawnPicture(
            output=files[0][0],
            thumbnail=files[1][0],
            backend=drawn.backend,
            pose_applied=drawn.pose_applied,
            licence=self._profile.licence,
            generation_time_s=drawn.denoise_s,
            worker=self._worker,
            pose_score=drawn.pose_score,
        )
        won = False
        for attempt in self._tries(DatabaseAway, DATABASE_S):
            with attempt:
                won = self._deliver_row(claim, picture)
        if not won and not self._is_delivered(files[0][0].key):
            log.info("picture.claim_lost", attempt=claim.attempt)
            self._remove(file.key for file, _content in files)
            return
        if drawn.pose_score is not None:
            POSE_SCORES.observe(drawn.pose_score)
        log.info(
            "picture.finished",
            attempt=claim.attempt,
            redraw=claim.redraw,
            denoise_s=round(drawn.denoise_s, 3),
            steps_skipped=drawn.steps_skipped,
            pose_score=None if drawn.pose_score is None else round(drawn.pose_score, 3),
            finish_s=round(monotonic() - began, 3),
        )

    def _deliver_row(self, claim: Claim, picture: DrawnPicture) -> bool:
        with self._announcer.database.reading() as session:  # a long line is read before anything is locked
            outlook = outlook_of_generation(session, claim.generation_id, now=database_now(session))
        with self._announcer.writing(Act.COMMIT_DELIVERY) as session:
            return deliver_picture(session, claim, picture, outlook=outlook, now=database_now(session))

    def _is_delivered(self, key: str) -> bool:
        """Tell whether this very attempt was delivered after all: its COMMIT held and only the answer was lost."""
        with self._announcer.database.reading() as session:
            return is_stored(session, key)

    def _store(self, files: Iterable[tuple[StoredFile, bytes]]) -> bool:
        try:
            for file, content in files:
                for attempt in self._tries(StorageAway, self._store_s):
                    with attempt:
                        self._storage.put(file.key, content)
        except StorageAway:
            log.exception("storage.away")
            return False
        return True

    def _tries(self, trouble: type[PosegenError], timeout_s: float) -> Iterable[stamina.Attempt]:
        """Yield tries with growing pauses while `trouble` lasts, until the time is up or the process leaves."""

        def passes(error: Exception) -> bool:
            return isinstance(error, trouble) and not self._leaving.is_set()

        return stamina.retry_context(on=passes, attempts=None, timeout=timeout_s, wait_max=3.0)

    def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                self._storage.delete(key)
            except StorageAway:
                log.warning("storage.leftover", key=key)

    def _fail(self, claim: Claim, code: str, message: str) -> None:
        won = False
        for attempt in self._tries(DatabaseAway, DATABASE_S):
            with attempt, self._announcer.writing(Act.COMMIT_FAILURE) as session:
                won = fail_picture(session, claim, code=code, message=message, now=database_now(session))
        log.warning("picture.failed" if won else "picture.claim_lost", attempt=claim.attempt, code=code)
