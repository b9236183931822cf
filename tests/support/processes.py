"""Real processes for tests: started, read, killed, and proven to leave nothing behind.

pytest makes itself the reaper of its orphans (PR_SET_CHILD_SUBREAPER), so a grandchild whose parent died shows up as
a child of ours and cannot hide.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from posegen.child_processes import last_lines, start_child
from support.waiting import wait_until

_PR_SET_CHILD_SUBREAPER = 36


class RealProcess:
    """One started process and its log. It ends with the test at the latest (use it as a context manager)."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `argv`; `env` is added to our environment. "python" as the first word means this interpreter."""
        if argv[0] == "python":
            argv = [sys.executable, *argv[1:]]
        self.log_file = log_file
        self.popen = start_child(argv, log_file=log_file, env={**os.environ, **(env or {})}, cwd=cwd)

    def __enter__(self) -> "RealProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def log(self) -> str:
        """Everything it has said so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_for_log(self, text: str, *, timeout_s: float = 20.0) -> None:
        """Wait until it has said `text`; fails at once when it ends without."""

        def said_or_gone() -> bool:
            return text in self.log or not self.running

        wait_until(said_or_gone, timeout_s=timeout_s, message=lambda: f"no {text!r} in:\n{last_lines(self.log_file)}")
        assert text in self.log, f"ended ({self.popen.returncode}) without saying {text!r}:\n{self.log}"

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and reap it. Only this process: what it started must look after itself."""
        if self.running:
            self.popen.kill()
        self.popen.wait()

    def terminate(self, *, timeout_s: float = 20.0) -> int:
        """SIGTERM, and return its exit code; fails when it does not end in time."""
        if self.running:
            self.popen.terminate()
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = 20.0) -> int:
        """Return its exit code; fails when it does not end in time."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s:\n{last_lines(self.log_file)}") from None


@contextmanager
def nothing_left_behind(*, timeout_s: float = 10.0) -> Iterator[None]:
    """Fail when a process that was started inside the block, by anyone below us, still lives `timeout_s` after it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(psutil.Process().children(recursive=True))
    yield

    def left() -> list[psutil.Process]:
        return [child for child in _living_children() if child not in before]

    try:
        wait_until(lambda: not left(), timeout_s=timeout_s)
    except AssertionError:
        named = [f"{child.pid} {' '.join(child.cmdline())}" for child in left()]
        for child in left():
            child.kill()
        raise AssertionError("left behind: " + "; ".join(named)) from None


def _living_children() -> list[psutil.Process]:
    living = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                living.append(child)
    return living
