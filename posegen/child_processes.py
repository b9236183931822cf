"""Child processes that cannot outlive us, however we end.

Linux sends a child a signal when the thread that started it dies (PR_SET_PDEATHSIG), so even `kill -9` of a parent
leaves nothing behind. Two traps: it is the *thread* that counts, so start long-lived children from a thread that
lives as long as they should; and the kernel forgets the wish when a process changes its user, so the user is changed
first (subprocess does that before it calls `preexec_fn`).
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a child must not load libraries


def end_with_parent(death_signal: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` after which the child gets `death_signal` when the thread that starts it dies."""
    parent = os.getpid()

    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and here: nobody will send the signal
            os._exit(1)

    return ask_kernel


def start_child(
    argv: Sequence[str | Path],
    *,
    log_file: Path | None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own process group, its output appended to `log_file`; it ends when our thread ends.

    The own group keeps a terminal's Ctrl-C from reaching it: its parent decides the order of stopping. Without a
    `log_file` it writes where we write. `user` needs root. Raises OSError when it cannot be started.
    """
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") if log_file is not None else nullcontext() as log:
        return subprocess.Popen(  # noqa: S603 - argv comes from our own code
            [os.fspath(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log_file is not None else None,
            cwd=cwd,
            env=None if env is None else dict(env),
            process_group=0,
            user=user,
            group=_group_of(user),
            extra_groups=None if user is None else [],
            preexec_fn=end_with_parent(death_signal),
        )


def stop_child(
    child: subprocess.Popen[bytes], *, ask: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0
) -> bool:
    """Ask a child to end; when it has not within `timeout_s`, kill it. Returns whether it ended by itself.

    Afterwards its whole process group is gone, with whatever it started there.
    """
    if child.poll() is None:
        child.send_signal(ask)
    try:
        child.wait(timeout_s)
        ended_itself = True
    except subprocess.TimeoutExpired:
        ended_itself = False
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return ended_itself


def last_lines(log_file: Path, count: int = 20) -> str:
    """Return the end of a log, or a sentence saying that there is none."""
    if not log_file.exists():
        return f"({log_file} was never written)"
    with log_file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 64 * 1024))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-count:])


def _group_of(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid
