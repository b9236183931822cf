"""The thread that ends this process when nothing else can: an engine that hangs, or a leave that takes too long.

A stuck CUDA call, a frozen database or a silent Redis cannot be interrupted from Python; the process can be ended. What
it held lapses and is drawn elsewhere, so ending is always safe, and staying is what makes orders hang.
"""

import os
import signal
import threading
from collections.abc import Callable
from time import monotonic

import structlog

from gpu_worker.engine_thread import EngineThread
from gpu_worker.errors import ended_by
from gpu_worker.hands import Hands
from posegen.errors import PosegenError
from posegen.exit_codes import ExitCode

log = structlog.get_logger()

LOOK_EVERY_S = 0.5
LEAVE_S = 10.0
"""A worker that was asked to leave is gone after one step and this."""
MOST_STEP_S = 60.0
LAST_TRY_S = 2.0


class Guard(threading.Thread):
    """Looks twice a second. `is_leaving` tells whether the process was asked to end."""

    def __init__(self, engine_thread: EngineThread, hands: Hands, is_leaving: Callable[[], bool]) -> None:
        super().__init__(name="guard", daemon=True)
        self._thread = engine_thread
        self._hands = hands
        self._is_leaving = is_leaving

    def run(self) -> None:
        """Look until the process ends."""
        pause = threading.Event()
        leaving_since: float | None = None
        while not pause.wait(LOOK_EVERY_S):
            if self._thread.failed.is_set():
                if leaving_since is None:
                    os.kill(os.getpid(), signal.SIGTERM)  # the main thread may be anywhere; its handler ends its wait
            elif not self._thread.is_well():
                log.error("engine.hung", held=len(self._thread.engine.live_keys()))
                os._exit(ExitCode.ENGINE_BROKE)  # no goodbye: its silence says that it died while drawing these
            if self._is_leaving():
                leaving_since = monotonic() if leaving_since is None else leaving_since
                if monotonic() - leaving_since > LEAVE_S + min(self._thread.longest_call_s, MOST_STEP_S):
                    self._cut_short()

    def _cut_short(self) -> None:
        """Give back what can be given back in a moment, then end."""
        log.error("leave.cut_short", held=len(self._thread.engine.live_keys()))
        last_try = threading.Thread(target=self._give_back, daemon=True)
        last_try.start()
        last_try.join(LAST_TRY_S)
        failure = self._thread.failure
        os._exit(ExitCode.CUT_SHORT if failure is None else ended_by(failure).exit_code)

    def _give_back(self) -> None:
        try:
            self._hands.give_back()
        except PosegenError:
            log.warning("leave.nothing_given_back")
