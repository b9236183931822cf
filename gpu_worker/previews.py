"""Previews of what is being drawn, for users who watch: asked of the engine, made small and sent, or dropped.

The engine's thread only notes what arrived and asks for what is wanted next; a thread of its own does the rest. Whoever
is behind drops: one preview a user waits here, and a newer one takes its place. A user's pictures take turns. Nothing
is made for users whom nobody listens for, which Redis is asked every second; without Redis there are no previews.
"""

import io
import threading
from collections.abc import Callable
from time import monotonic

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.desk import Desk, Stage
from models.engine import Engine
from models.requests import Preview, StepReport
from posegen.bell import Bell
from posegen.errors import BellAway
from posegen.leases import Claim
from posegen.previews import PREVIEW_PX, PREVIEWS_A_SECOND, PreviewMessage, Turnstile

log = structlog.get_logger()

QUALITY = 60
WATCHERS_EVERY_S = 1.0
APART_S = 1 / PREVIEWS_A_SECOND


class Previews(threading.Thread):
    """Shows each user who watches one of their pictures every half second. `take` belongs to the engine's thread."""

    def __init__(self, engine: Engine, desk: Desk, bell: Bell, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(name="previews", daemon=True)
        self._engine = engine
        self._desk = desk
        self._bell = bell
        self._clock = clock
        self._changed = threading.Condition()
        self._ended = False
        self._is_away = False
        self._is_broken = False
        self._asked_for: tuple[str, ...] = ()
        self._looked_s = 0.0
        self._turnstile = Turnstile(clock)
        # Written by this thread and read by the engine's, as a whole.
        self._watched: frozenset[str] = frozenset()
        # Under the lock: whose pictures are drawn now, and the newest preview of each user that is not sent yet.
        self._drawn_for: tuple[str, ...] = ()
        self._waiting: dict[str, tuple[str, Claim, Preview]] = {}
        # The engine's thread's own: when a user was shown something last, what was asked for, whose turn it was when.
        self._shown_s: dict[str, float] = {}
        self._asked: dict[str, str] = {}
        self._turns: dict[str, float] = {}

    def take(self, report: StepReport) -> None:
        """Note the previews of a step, and ask for those that are due next. Never raises."""
        if self._is_broken or not (report.rows or report.previews):
            return
        try:
            self._take(report, {held.key: held.claim for held in self._desk.held(Stage.ENGINE)})
        except Exception:  # previews are no reason to stop drawing; what breaks once here would break every step
            self._is_broken = True
            log.exception("previews.broke")

    def run(self) -> None:
        """Ask who watches, encode and send; until ended."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._waiting or self._is_watch_due(), WATCHERS_EVERY_S)
                if self._ended:
                    return
            try:
                self.work()
            except Exception:  # this thread's outermost frame
                log.exception("previews.broke")

    def work(self) -> None:
        """Do what this thread has to do now: ask who watches, if that is due, and send what waits."""
        with self._changed:
            waiting, self._waiting = self._waiting, {}
        try:
            self._look()
            for user_id, (key, claim, preview) in waiting.items():
                self._send(user_id, key, claim, preview)
        except BellAway:
            self._without_redis()

    def end(self) -> None:
        """Stop sending."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self.is_alive():
            self.join(5)

    def _take(self, report: StepReport, claims: dict[str, Claim]) -> None:
        now = self._clock()
        arrived = {}
        for preview in report.previews:
            claim = claims.get(preview.key)
            if claim is not None:
                arrived[claim.user_id] = (preview.key, claim, preview)
                self._shown_s[claim.user_id] = now
                self._asked.pop(claim.user_id, None)
        by_user: dict[str, list[tuple[str, int]]] = {}
        for key, index, steps in report.rows:
            if key in claims:
                by_user.setdefault(claims[key].user_id, []).append((key, steps - index - 1))
        if report.rows:
            self._forget_all_but(by_user)
        for user_id, rows in by_user.items():
            if user_id in self._watched and now - self._shown_s.get(user_id, -APART_S) >= APART_S:
                self._ask(user_id, rows, now)
        with self._changed:
            self._waiting |= arrived
            if report.rows:
                self._drawn_for = tuple(by_user)
            self._changed.notify_all()

    def _ask(self, user_id: str, rows: list[tuple[str, int]], now: float) -> None:
        """Ask for the picture that was not shown for longest; a last step is not worth it, the picture follows."""
        keys = [key for key, steps_left in rows if steps_left > 1]
        if user_id in self._asked or not keys:
            return
        key = min(keys, key=lambda key: self._turns.get(key, -1.0))
        self._turns[key] = now
        self._asked[user_id] = key
        self._engine.preview(key)

    def _forget_all_but(self, by_user: dict[str, list[tuple[str, int]]]) -> None:
        keys = {key for rows in by_user.values() for key, _left in rows}
        self._turns = {key: turn for key, turn in self._turns.items() if key in keys}
        self._asked = {user_id: key for user_id, key in self._asked.items() if key in keys}
        if len(self._shown_s) > 10 * len(by_user) + 10:
            self._shown_s = {user_id: at for user_id, at in self._shown_s.items() if user_id in by_user}

    def _is_watch_due(self) -> bool:
        """Tell whether Redis is to be asked who watches: every second, and at once for who is new."""
        is_new = any(user_id not in self._asked_for for user_id in self._drawn_for)
        return is_new or (bool(self._drawn_for) and self._clock() - self._looked_s >= WATCHERS_EVERY_S)

    def _look(self) -> None:
        with self._changed:
            if not self._is_watch_due():
                return
            if not self._desk.held(Stage.ENGINE):
                self._drawn_for = ()  # nobody is asked about while nothing is drawn
            self._asked_for, self._looked_s = self._drawn_for, self._clock()
        self._watched = self._bell.who_watches(self._asked_for)
        self._is_away = False

    def _send(self, user_id: str, key: str, claim: Claim, preview: Preview) -> None:
        if not any(held.key == key for held in self._desk.held(Stage.ENGINE)):
            return  # drawn, or cancelled
        if not self._turnstile.passes(user_id):
            return
        width, height, image = encode_preview(preview.pixels)
        message = PreviewMessage(
            generation_id=claim.generation_id,
            variation_key=claim.variation_key,
            pose_library_id=claim.pose_id,
            step=preview.step_index + 1,
            steps=preview.steps,
            width=width,
            height=height,
            image=image,
        )
        self._bell.publish_preview(user_id, message.to_bytes())

    def _without_redis(self) -> None:
        self._watched = frozenset()
        if not self._is_away:
            log.warning("previews.redis_away")
        self._is_away = True


def encode_preview(pixels: NDArray[np.uint8]) -> tuple[int, int, bytes]:
    """Return width, height and WebP of a preview; larger ones are made PREVIEW_PX long."""
    picture = Image.fromarray(pixels, mode="RGB")
    picture.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=QUALITY, method=2)
    return picture.width, picture.height, file.getvalue()
