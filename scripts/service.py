"""The service's parts, started step by step and stopped together.

Each step prints one line; one that fails raises StepFailed, which says what to do. All steps run in the main thread
(see supervisor.py for why).
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preparing import DemoLogin, prepare_demo_user, prepare_library
from supervisor import Part, Program, Rank, Supervisor

from posegen import migrating
from posegen.cards import visible_cards
from posegen.child_processes import start_child, stop_child
from posegen.database import Database
from posegen.exit_codes import ExitCode
from posegen.ports import free_port
from posegen.private_redis import PrivateRedis
from posegen.settings import Settings
from posegen.storage import Storage

API_UP_WITHIN_S = 60.0
WORKER_READY_WITHIN_S = 3600.0
"""Weights of 35 GB may have to be read from a slow disk; a worker that gives up is seen at once."""
WORKER_STOPS_WITHIN_S = 40.0
"""One step (up to 30 s on a slow machine) and 10 s."""
API_STOPS_WITHIN_S = 10.0
_POLL_S = 0.1
_STILL_WAITING_EVERY_S = 20.0
_WITHOUT_CARD = {"auto": "one that draws at a hosted endpoint (no CUDA card)", "cpu": "one on the CPU (no CUDA card)"}
_SECOND_WISH_AFTER_S = 0.5


class StepFailed(Exception):
    """A step of the start did not succeed; says what to do, and shows a log's end when there is one."""

    def __init__(self, what: str, to_do: str, log_file: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.to_do = to_do
        self.log_file = log_file


class Stopped(Exception):
    """Somebody asked us to stop before the start was over."""


class StopSignal:
    """SIGINT, SIGTERM and SIGHUP: the first asks to stop, another one some time later to hurry.

    One wish may arrive twice (`timeout` and terminals signal a process and then its group), so the second one counts
    only after `_SECOND_WISH_AFTER_S`.
    """

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._hurry = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup wants us to live on
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > _SECOND_WISH_AFTER_S:
            self._hurry = True

    def asked(self) -> bool:
        """Tell whether to stop."""
        return self._asked_at is not None

    def hurried(self) -> bool:
        """Tell whether to stop at once."""
        return self._hurry


class RedisPart:
    """The private Redis as a part of the service."""

    name = "redis"
    rank = Rank.REDIS

    def __init__(self, redis: PrivateRedis) -> None:
        self.redis = redis
        self.log_file = redis.log_file

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.redis.start()

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self.redis.exit_code

    def ask_to_stop(self) -> None:
        """Redis is asked when its turn comes."""

    def stop(self, hurried: Callable[[], bool]) -> bool:
        """Stop it; its data stay."""
        self.redis.stop(timeout_s=0.5 if hurried() else 10.0)
        return True


class Service:
    """The service under start. Methods are the steps, in order."""

    def __init__(self, settings: Settings, stop: StopSignal) -> None:
        self.settings = settings
        self.var = settings.var_dir.absolute()
        self.logs = self.var / "log"
        self.supervisor = Supervisor(say)
        self.stop = stop
        self.environment = {**os.environ, "VAR_DIR": str(self.var)}
        self.port = settings.port
        self.api: list[Program] = []
        self.workers: list[Program] = []

    @property
    def url(self) -> str:
        """Where a client on this machine finds the API."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = everywhere.get(self.settings.host, self.settings.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start_redis(self) -> None:
        """Use the Redis of the settings, else start our own."""
        if self.settings.redis_url.get_secret_value() or self.settings.redis_host:
            parts = urlsplit(self.settings.bell_url)
            told("Redis", f"{parts.hostname}:{parts.port or 6379}, as set")
            return
        redis = PrivateRedis(self.var / "redis")
        self.supervisor.start(RedisPart(redis))
        self.environment["REDIS_URL"] = redis.url
        told("Redis", f"private, 127.0.0.1:{redis.port}")

    def migrate(self) -> None:
        """Bring the database to the newest tables."""
        database = Database(self.settings.sql_url)
        try:
            migrating.migrate(database)
        finally:
            database.close()
        told("Database", database.url.render_as_string(hide_password=True))

    def prepare(self) -> DemoLogin:
        """Bring library and demo user to where they should be."""
        database = Database(self.settings.sql_url)
        try:
            poses, categories = prepare_library(database, Storage(self.settings.storage_dir))
            told("Library", f"{poses} poses in {categories} categories")
            login, balance = prepare_demo_user(database, self.var / "demo-login.json")
            told("Demo user", f"{login.email}, {balance} credits")
            return login
        finally:
            database.close()

    def start_api(self, wanted_port: int) -> None:
        """Start the API on the wanted port or the next free one."""
        self.port = free_port(range(wanted_port, min(wanted_port + 100, 65536)), self.settings.host)
        self.environment["PORT"] = str(self.port)
        program = self._program("api", Rank.API, ["-m", "api"])
        program.stop_within_s = API_STOPS_WITHIN_S
        self.supervisor.start(program)
        self.api.append(program)
        taken = "" if self.port == wanted_port else f" (port {wanted_port} is taken)"
        told("API", f"starting on port {self.port}{taken}")

    def start_workers(self) -> None:
        """Start one worker a visible card, or one that draws elsewhere or on the CPU."""
        cards = visible_cards(os.environ)
        without_card = "auto" if self.settings.may_be_hosted else "cpu"
        for device in [card.device for card in cards] or [without_card]:
            name = f"worker-{device.replace(':', '-')}"
            program = self._program(name, Rank.WORKER, ["-m", "gpu_worker", "--device", device])
            program.stop_within_s = WORKER_STOPS_WITHIN_S
            self.supervisor.start(program)
            self.workers.append(program)
        told("Workers", ", ".join(f"{card.device} {card.name}" for card in cards) or _WITHOUT_CARD[without_card])

    def wait_until_healthy(self) -> None:
        """Wait for the API, then for a worker that draws."""
        self._wait(self._health, self.api, API_UP_WITHIN_S, "the API")
        told("API", f"{self.url} answers")
        ready = self._wait(self._ready_workers, self.workers, WORKER_READY_WITHIN_S, "a worker")
        first = ready[0]
        told("Worker", f"{first.get('name')} is ready: {first.get('profile')} on {first.get('device')}")
        if first.get("model"):
            told("", f"It draws with: {first['model']}")

    def first_order(self, login: DemoLogin) -> int:
        """Order four pictures as any client would, and return the client's exit code."""
        environment = {**os.environ, "POSEGEN_EMAIL": login.email, "POSEGEN_PASSWORD": login.password}
        argv: list[str | Path] = [sys.executable, Path(__file__).parent / "first_order.py", "--url", self.url]
        argv += ["--folder", self.var / "first-order", "--token-file", self.var / "demo-token"]
        child = start_child(argv, log_file=None, env=environment)
        try:
            while child.poll() is None and not self.stop.asked():
                self.supervisor.look_after()
                if all(worker.exit_code == ExitCode.CANNOT_START for worker in self.workers):
                    raise _ended(self.workers[0])  # nobody is left who could draw it
                time.sleep(_POLL_S)
            if self.stop.asked():
                raise Stopped
            return child.returncode or 0
        finally:
            stop_child(child, ask=signal.SIGINT, timeout_s=2)  # it gives the terminal back its cursor

    def serve(self) -> None:
        """Keep everything alive until somebody asks to stop."""
        while not self.stop.asked():
            self.supervisor.look_after()
            time.sleep(_POLL_S)

    def shut_down(self) -> None:
        """End every child: workers, API, Redis."""
        self.supervisor.stop(self.stop.hurried)

    def _program(self, name: str, rank: Rank, arguments: Sequence[str]) -> Program:
        log_file = self.logs / f"{name}.log"
        return Program(name, rank, [sys.executable, *arguments], log_file=log_file, env=self.environment)

    def _wait(self, ask: Callable[[], Any], parts: Sequence[Part], timeout_s: float, what: str) -> Any:
        """Return what `ask` answers once that is true. Fails when every one of `parts` ended, or at the deadline."""
        began = last_told = time.monotonic()
        while True:
            if self.stop.asked():
                raise Stopped
            if answer := ask():
                return answer
            fallen = [part for part in parts if part.exit_code is not None]
            if len(fallen) == len(parts):
                raise _ended(fallen[0])
            if self.api[0].exit_code is not None:
                raise _ended(self.api[0])
            now = time.monotonic()
            if now - began > timeout_s:
                raise StepFailed(f"No sign of {what} for {timeout_s:.0f} s.", "See the log below.", parts[0].log_file)
            if now - last_told > _STILL_WAITING_EVERY_S:
                last_told = now
                told("", f"still waiting for {what} ({now - began:.0f} s); log: {short(parts[0].log_file)}")
            time.sleep(_POLL_S)

    def _health(self) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url}/api/apps/pose-generator/health", timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            error.close()  # unhealthy: not yet
        except (OSError, ValueError):
            pass  # nobody listens yet
        return None

    def _ready_workers(self) -> list[dict[str, Any]]:
        health = self._health() or {}
        ready = [worker for worker in health.get("workers") or [] if worker.get("status") == "ready"]
        # Not the health's sum: what an earlier start left for another model does not keep this one from drawing.
        return ready if health.get("checks", {}).get("redis", {}).get("status") == "healthy" else []


def told(step: str, sentence: str) -> None:
    """Print one step's line."""
    say(f"  {step:<10} {sentence}")


def say(sentence: str) -> None:
    """Print a sentence at once, also into a pipe."""
    print(sentence, flush=True)


def short(path: Path) -> str:
    """Name a path as seen from where we stand."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _ended(part: Part) -> StepFailed:
    if part.exit_code == ExitCode.CANNOT_START:
        to_do = "Its log says what it needs. To draw with the small built-in model on the CPU: "
        return StepFailed(f"{part.name} cannot start.", to_do + "CUDA_VISIBLE_DEVICES= ./scripts/start", part.log_file)
    if part.exit_code == ExitCode.CARD_FAILED:
        to_do = "Look at the card (nvidia-smi -q, dmesg | grep Xid), or take it out of CUDA_VISIBLE_DEVICES."
        return StepFailed(f"The card of {part.name} failed.", to_do, part.log_file)
    return StepFailed(f"{part.name} ended with {part.exit_code}.", "Its log says why.", part.log_file)
