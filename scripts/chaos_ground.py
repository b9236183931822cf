"""The service that is broken: a real API, real workers, Redis and database, each in a process of its own.

It plays the supervisor's part: a process that ends is started again a moment later, like systemd or scripts/start do.
Ends that nobody caused are noted; the exit code 78 says "a restart will not help", so such a process stays down until
somebody lends a hand, and that is noted too.
"""

import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
from chaos_notes import Notes
from chaos_plan import Plan
from chaos_recorder import install
from postgres_server import PostgresServer

from posegen.child_processes import last_lines, start_child
from posegen.crash_points import POINTS, TRACE
from posegen.database import Database, database_now
from posegen.exit_codes import ExitCode
from posegen.library import seed_library
from posegen.migrating import migrate
from posegen.ports import free_port
from posegen.poses.library_files import read_library
from posegen.private_redis import PrivateRedis
from posegen.storage import Storage

ROOT = Path(__file__).parents[1]
APP = "/api/apps/pose-generator"
POSES = 6
_RATES = ("LOGIN_RATE", "REGISTER_RATE", "GENERATE_RATE", "PROFILE_RATE", "UPLOAD_RATE")


class GroundLost(Exception):
    """The service could not be brought up; the run says nothing about its promises."""


@dataclass(slots=True)
class Process:
    """One place for a process: the worker number 2, the API. `child` is who fills it now."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log_file: Path
    child: subprocess.Popen[bytes] | None = None
    again_at: float | None = None
    stopped: bool = False
    expected: bool = False
    """Its next end was caused by us."""
    pids: list[int] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Tell whether it lives (also while it is stopped)."""
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self) -> int:
        """The process id of who fills the place now, or filled it last."""
        return self.pids[-1]

    def start(self, **settings: str) -> None:
        """Start it, with settings of its own for this life."""
        env = {**self.env, **settings}
        self.child = start_child([sys.executable, *self.argv], log_file=self.log_file, env=env, cwd=ROOT)
        self.pids.append(self.child.pid)
        self.again_at, self.stopped, self.expected = None, False, False

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.running and self.child is not None:
            self.child.send_signal(number)


class Ground:
    """Everything that runs. All methods belong to the main thread: children end with the thread that started them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = (plan.folder or Path(tempfile.mkdtemp(prefix="posegen-chaos-"))).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.notes = Notes(self.folder / "faults.jsonl")
        self.redis = PrivateRedis(self.folder / "redis")
        self.postgres = PostgresServer(durable=True) if plan.db == "postgres" else None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage_dir = self.folder / "var" / "storage"
        self._random = random.Random(plan.seed)
        self._env: dict[str, str] = {}
        self.api = Process("api", ["-m", "api"], self._env, self.folder / "api.log")
        self.workers: list[Process] = []
        self._extra: list[Process] = []

    def start(self) -> None:
        """Bring everything up. Raises GroundLost."""
        self.redis.start()
        url = f"sqlite:///{self.folder / 'posegen.db'}"
        if self.postgres is not None:
            self.postgres.start()
            url = self.postgres.url(self.postgres.create_database("posegen"))
        self.database = Database(url)
        migrate(self.database)
        self._seed()
        install(self.database)
        self._env.update(self._environment(url))
        self.api.start()
        device = f"fake:{self.plan.step_s}" if self.plan.engine == "fake" else "cpu"
        for number in range(1, self.plan.workers + 1):
            argv = ["-m", "gpu_worker", "--device", device, "--profile", "tiny"]
            worker = Process(f"worker-{number}", argv, self._env, self.folder / f"worker-{number}.log")
            self.workers.append(worker)
            worker.start()
        self._wait_until_up()

    def extra_worker(self, **settings: str) -> Process:
        """Start one worker more, with settings of its own; nobody starts it again."""
        extra = replace(self.workers[0], name="worker-extra", log_file=self.folder / "worker-extra.log", pids=[])
        self._extra.append(extra)
        extra.start(**settings)
        return extra

    def look_after(self) -> None:
        """Note who ended and start again whose time has come."""
        now = time.monotonic()
        for process in [self.api, *self.workers]:
            if process.again_at is not None:
                if now >= process.again_at:
                    process.start()
            elif process.child is not None and (code := process.child.poll()) is not None:
                self._note_end(process, code)
                process.again_at = now + self._random.uniform(0.1, 1.5)

    def fill_all(self) -> None:
        """Let stopped processes go on and start those that wait, and bring Redis and database back."""
        if self.postgres is not None:
            self.postgres.start()
        self.redis.start()
        for process in [self.api, *self.workers]:
            process.send(signal.SIGCONT)
            process.stopped = False
            if process.again_at is not None:
                process.start()

    def answers(self) -> bool:
        """Tell whether the API answers."""
        try:
            return httpx2.get(f"{self.url}{APP}/health", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    def command(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run the `posegen` command against the service."""
        return subprocess.run(
            [sys.executable, "-m", "posegen", *arguments],
            env=self._env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def unreached_points(self) -> list[str]:
        """Return the crash points that no process has reached, by the logs of a traced run."""
        said = "".join(process.log_file.read_text(errors="replace") for process in [self.api, *self.workers])
        return [point for point in POINTS if f'"point": "{point}"' not in said] if self.plan.trace else []

    def stop(self) -> None:
        """End everything; the folder stays."""
        for process in [self.api, *self.workers, *self._extra]:
            if process.running and process.child is not None:
                process.child.kill()
                process.child.wait()
        self.database.close()
        self.redis.stop()

    def remove_database(self) -> None:
        """End PostgreSQL and delete its data."""
        if self.postgres is not None:
            self.postgres.remove()

    def _note_end(self, process: Process, code: int) -> None:
        if not process.expected:
            self.notes.add("ended_by_itself", process=process.name, code=code, log_end=last_lines(process.log_file, 12))
        if code == ExitCode.CANNOT_START:
            self.notes.add("needs_a_hand", process=process.name, log_end=last_lines(process.log_file, 3))

    def _seed(self) -> None:
        """Write a few poses: drawing the previews of the whole library takes a while."""
        library = read_library()
        with self.database.writing() as session:
            few = replace(library, poses=library.poses[:POSES])
            seed_library(session, Storage(self.storage_dir), few, now=database_now(session))

    def _environment(self, database_url: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "VAR_DIR": str(self.folder / "var"),
            "DATABASE_URL": database_url,
            "REDIS_URL": self.redis.url,
            "JWT_SECRET": secrets.token_hex(32),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LEASE_S": str(self.plan.lease_s),
            **dict.fromkeys(_RATES, "1000000/minute"),
            "GENERATE_PICTURES_RATE": "10000000/minute",
            "LOG_FORMAT": "json",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            **({"CRASH_AT": TRACE} if self.plan.trace else {}),
        }

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 120.0
        while time.monotonic() < deadline:
            ready = sum("worker.ready" in last_lines(worker.log_file, 50) for worker in self.workers)
            if ready == len(self.workers) and self.answers():
                return
            fallen = [process for process in [self.api, *self.workers] if not process.running]
            if fallen:
                raise GroundLost(f"{fallen[0].name} did not start:\n{last_lines(fallen[0].log_file)}")
            time.sleep(0.1)
        raise GroundLost(f"The service was not up after 120 s; see {self.folder}")
