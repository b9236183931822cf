"""One worker's life: report, load, warm up, heal, listen, drain. Everything the process owns is put together here."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from gpu_worker.desk import Desk, Stage
from gpu_worker.detecting import Detecting
from gpu_worker.engine_choice import LoadedEngine, memory_bytes, open_engine
from gpu_worker.engine_thread import EngineThread
from gpu_worker.errors import CannotStart, WorkerError, ended_by
from gpu_worker.finisher import Finisher
from gpu_worker.guard import Guard
from gpu_worker.hands import Hands
from gpu_worker.hosting import DrawingCapability
from gpu_worker.judging import Judge, judge_of
from gpu_worker.keeper import Keeper
from gpu_worker.listener import Listener
from gpu_worker.meter import Meter
from gpu_worker.metrics import MEMORY, MEMORY_TOTAL, ROWS, serve_metrics
from gpu_worker.previews import Previews
from gpu_worker.redrawing import Redrawing
from gpu_worker.shared_detector import detector_in
from posegen import crash_points, migrating
from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import Database
from posegen.errors import DatabaseAway
from posegen.exit_codes import ExitCode
from posegen.identifiers import new_id
from posegen.leases import Claimant
from posegen.processes import own_process
from posegen.reconciler import Healer
from posegen.settings import Settings
from posegen.statuses import WorkerStatus
from posegen.storage import Links, Storage
from posegen.upkeep import Upkeep
from posegen.workforce import WorkerReport, drawing_capability

log = structlog.get_logger()

DRAIN_S = 5.0
"""How long a leaving worker goes on drawing; what is not done by then goes back to the queue."""
ENGINE_END_S = 60.0
DATABASE_WAIT_S = 60.0
"""How long a starting worker waits for its database; then it ends, and may be started again."""
DATABASE_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line; None: not given. max_batch None: auto."""

    device: str = "auto"
    profile: str | None = None
    max_batch: int | None = None
    precision: str | None = None
    cache: str | None = None
    compile: str | None = None
    attention: str | None = None
    burst: bool = False


class WorkerProcess:
    """One worker. `run` blocks in the main thread until a signal, the end of a burst, or a broken engine.

    opens: makes the engine; None: `open_engine`, as the options and settings say.
    """

    def __init__(
        self, options: Options, settings: Settings, opens: Callable[[Options, Settings], LoadedEngine] | None = None
    ) -> None:
        self.options = options
        self.settings = settings
        self._opens = opens
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-6:]}"
        links = Links(
            settings.jwt_secret.get_secret_value(), life_s=settings.url_life_s, base_url=settings.public_base_url
        )
        self.announcer = Announcer(Database(settings.sql_url), Bell(settings.bell_url), links)
        self.meter = Meter()
        self.desk = Desk()
        self.status = WorkerStatus.STARTING
        self.process = own_process()
        self.loaded: LoadedEngine | None = None
        self.metrics_port: int | None = None
        self.hands: Hands | None = None
        self.engine_thread: EngineThread | None = None
        self.listener: Listener | None = None
        self.previews: Previews | None = None
        self.detecting: Detecting | None = None
        self.judge: Judge | None = None
        self.keeper = Keeper(self.announcer.database, self._report, lease_s=settings.lease_s)
        self._drawing = DrawingCapability()
        self._stop_asked = threading.Event()
        self._refusal: WorkerError | None = None

    def run(self) -> None:
        """Work until the end. Raises a WorkerError; afterwards nothing is held that could be returned."""
        crash_points.arm(crash_points.wish_of(self.settings.crash_at))
        self._install_signals()
        self._enter()
        self.keeper.start()
        loaded = self.loaded = self._load()
        self.metrics_port = serve_metrics(self.settings, device=loaded.device)
        self._tell_gauges(loaded)
        thread, finisher, hands = self._assemble(loaded)
        if self._stop_asked.is_set():
            self._leave(thread, finisher, hands)
            return
        thread.start()
        self.keeper.watch(self.desk, thread, hands)
        Guard(thread, hands, self._stop_asked.is_set).start()
        try:
            self.status = WorkerStatus.READY
            log.info("worker.ready", worker=self.name, device=loaded.device, profile=loaded.engine.profile.name)
            self._work(hands)
        finally:
            self._leave(thread, finisher, hands)
        if thread.failure is not None:
            raise ended_by(thread.failure) from thread.failure

    def _load(self) -> LoadedEngine:
        try:
            return (self._opens or open_engine)(self.options, self.settings)
        except WorkerError as error:
            self._refusal = error
            self._say_goodbye()
            raise

    def _tell_gauges(self, loaded: LoadedEngine) -> None:
        ROWS.set_function(lambda: len(self.desk.held(Stage.ENGINE)))
        MEMORY.set_function(lambda: self._memory_bytes() or 0)
        MEMORY_TOTAL.set(loaded.memory_total_bytes or 0)

    def _memory_bytes(self) -> int | None:
        """Return the card memory that this process has reserved; a card that failed is not asked."""
        return memory_bytes(self.loaded.device) if self.loaded is not None and self._failure() is None else None

    def _failure(self) -> BaseException | None:
        """Return what ended this worker's engine, or kept it from being loaded."""
        return self._refusal or (self.engine_thread.failure if self.engine_thread is not None else None)

    def _assemble(self, loaded: LoadedEngine) -> tuple[EngineThread, Finisher, Hands]:
        engine, profile = loaded.engine, loaded.engine.profile
        storage = Storage(self.settings.storage_dir)
        device = loaded.device if loaded.device.startswith("cuda") else "cpu"
        detector = detector_in(self.settings.detectors_dir, device=device)
        self.judge = judge_of(loaded, detector, self.settings, on_card_failure=lambda error: thread.fail(error))
        thread: EngineThread
        redrawing = Redrawing(
            *(self.desk, engine.submit, lambda: thread.wake()),
            below=self.settings.redraw_below,
            is_shut=lambda: self._failure() is not None,
        )
        finisher = Finisher(
            *(self.announcer, storage, self.desk),
            worker=self.name,
            profile=profile,
            is_engine_lost=lambda: self._failure() is not None,
            judge=self.judge,
            redrawing=redrawing,
            most_waiting=2 * engine.max_batch,
        )
        if self.settings.previews:
            self.previews = Previews(engine, self.desk, self.announcer.bell)
            self.previews.start()
        thread = self.engine_thread = EngineThread(engine, self.desk, self.meter, finisher.take, self.previews)
        claimant = Claimant(
            worker=self.name,
            profile=profile.name,
            lease_s=self.settings.lease_s,
            follows_poses=loaded.follows_poses,
        )
        detecting = self.detecting = Detecting(
            *(self.announcer, storage, self.desk, claimant, detector), on_card_failure=thread.fail
        )
        detecting.start()
        if self.judge is not None:
            self.judge.start()
        self.hands = Hands(self.announcer, claimant, self.desk, thread, finisher, detecting)
        return thread, finisher, self.hands

    def _work(self, hands: Hands) -> None:
        try:
            self.keeper.report_now()
        except DatabaseAway:
            log.warning("worker.database_away")  # the keeper reports as soon as it is back
        self._start_healing()
        if self.options.burst:
            hands.draw_everything()
            return
        listener = self.listener = Listener(self.settings.bell_url, hands.draw, name=self.name)
        if not self._stop_asked.is_set():
            listener.listen()

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        again = self._stop_asked.is_set()
        self._stop_asked.set()
        self._say_draining()
        if self.hands is not None:
            self.hands.begin_drain()
        if self.loaded is None:
            raise SystemExit(0)  # still loading: nothing is held, and loading may take minutes
        if self.listener is not None and not again:
            self.listener.stop()

    def _enter(self) -> None:
        """Check the tables and report for the first time; a database that is away, or busy, is waited for.

        Raises CannotStart, or DatabaseAway after DATABASE_WAIT_S: then a supervisor may try again.
        """
        until = monotonic() + DATABASE_WAIT_S
        while True:
            try:
                if not migrating.is_current(self.announcer.database):
                    raise CannotStart("The database's tables are old or missing; run: posegen migrate")
                self.keeper.report_now()
            except DatabaseAway as away:
                log.warning("worker.database_away", cause=str(away.__cause__))
                if monotonic() > until or self._stop_asked.wait(DATABASE_PAUSE_S):
                    raise
            else:
                return

    def _start_healing(self) -> None:
        """Return what dead workers held and ring for what waits, now and every lease's length until the end."""
        upkeep = Upkeep(self.announcer.database, Storage(self.settings.storage_dir), keep=self.settings.kept_for)
        healer = Healer(self.announcer, every_s=self.settings.lease_s, upkeep=upkeep)
        healer.heal()

        def go_on() -> None:
            while not self._stop_asked.wait(self.settings.lease_s):
                healer.heal()

        threading.Thread(target=go_on, name="healer", daemon=True).start()

    def _leave(self, thread: EngineThread, finisher: Finisher, hands: Hands) -> None:
        """Finish what can be finished soon, give the rest back, say goodbye. A failed engine's pictures go first."""
        self._stop_asked.set()
        self._say_draining()
        hands.begin_drain()
        returned = self._give_back(hands) if thread.failure is not None else 0
        until = monotonic() + DRAIN_S
        while self._goes_on(thread) and monotonic() < until:
            self.desk.wait(0.25, seen=self.desk.changes)
        thread.stop()
        if thread.is_alive() and thread.failure is None:
            thread.join(ENGINE_END_S)
        finisher.close()
        if self.previews is not None:
            self.previews.end()
        returned += self._give_back(hands)
        self._say_goodbye()
        log.info("worker.left", returned=returned)
        detectors_ended = [one.end(within_s=1.0) for one in (self.detecting, self.judge) if one is not None]
        self.announcer.bell.close()
        self.announcer.database.close()
        if not all(detectors_ended):  # one is in a library's own code, which crashes when Python ends around it
            os._exit(ExitCode.DONE if thread.failure is None else ended_by(thread.failure).exit_code)

    def _goes_on(self, thread: EngineThread) -> bool:
        """Tell whether something that is held may still come to its end here."""
        if thread.failure is not None:
            return False
        return bool((thread.is_alive() and self.desk.held(Stage.ENGINE)) or self.desk.detection())

    def _give_back(self, hands: Hands) -> int:
        try:
            return hands.give_back()
        except DatabaseAway:
            log.warning("drain.database_away")
            return 0

    def _say_goodbye(self) -> None:
        """Report the end, after which nobody waits for this worker; not while it still holds what it could not return.

        Silence says then that it died over it.
        """
        self.keeper.end()
        if self.keeper.is_alive():
            self.keeper.join(10)
        if self.desk.held(Stage.ENGINE):
            return
        self.status = WorkerStatus.STOPPED
        try:
            self.keeper.report_now()
        except DatabaseAway:
            log.warning("drain.database_away")

    def _say_draining(self) -> None:
        """Report the leave, unless the engine broke: until its pictures are returned, silence blames them."""
        if self._failure() is None:
            self.status = WorkerStatus.DRAINING

    def _report(self) -> WorkerReport:
        loaded = self.loaded
        failure = self._failure()
        return WorkerReport(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            process=self.process,
            device=loaded.device if loaded else self.options.device,
            device_name=loaded.device_name if loaded else None,
            profile=loaded.engine.profile.name if loaded else self.options.profile or self.settings.profile,
            status=self.status,
            max_batch=loaded.engine.max_batch if loaded else 1,
            capabilities=self._capabilities(),
            rows_active=len(self.desk.held(Stage.ENGINE)),
            steps_per_s=self.meter.steps_per_s(),
            pictures_per_s=self.meter.pictures_per_s(),
            busy_share=round(self.meter.take_busy_share(), 3),
            memory_bytes=self._memory_bytes(),
            error_message=str(failure) if failure is not None else None,
        )

    def _capabilities(self) -> dict[str, Any]:
        """Say what this worker does and how; of detecting also with what, or why not. Little of it while starting."""
        if self.loaded is None:
            return {"kinds": ["pose"]}
        drawing = {
            **self._drawing.of(self.loaded),
            **drawing_capability(self.loaded.drawing(metrics_port=self.metrics_port)),
        }
        if self.detecting is None:
            return {"kinds": ["pose"], **drawing}
        kinds = ["pose", "detect"] if self.detecting.is_able else ["pose"]
        return {"kinds": kinds, "detect": self.detecting.capability(), **drawing}
