"""Proof that a process of this machine is gone, so that its work need not wait until it was silent for long enough.

A process is told by the machine's boot, the PID namespace, the PID and when it started, for PIDs are used again and
containers count their own. Outside Linux nothing is told and nothing is proven; then leases have to run out.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Fields of /proc/PID/stat behind the name, which may hold anything: proc_pid_stat(5)."""
_OVER = ("Z", "X", "x")
"""States of a process that runs no more code: a zombie waits for its parent only."""


def own_process() -> str | None:
    """Tell who this process is, for its neighbours on this machine; None where that cannot be told."""
    place = _place()
    stat = _stat(os.getpid())
    return None if place is None or stat is None else f"{place}:{os.getpid()}:{stat[_STARTED]}"


def is_gone(process: str) -> bool:
    """Tell whether a process, as it told itself, has certainly ended. False of one on another machine, and in doubt."""
    place, pid, started = process.rsplit(":", 2)
    if place != _place():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's: it may be hidden from us in /proc, but it is there
        pass
    stat = _stat(int(pid))
    return stat is not None and (stat[_STATE] in _OVER or stat[_STARTED] != started)


def _place() -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
