"""The machine itself: Python, free disk and memory, open files, the port of the API."""

import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from posegen.alive import HEALTH_PATH, health_at
from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject
from posegen.ports import free_port, is_free

OLDEST_PYTHON = (3, 11)
TIGHT_BYTES, FULL_BYTES = 10 * 10**9, 10**9
"""Free on the disk of VAR_DIR: below the first it is told, below the second nothing should start."""
TIGHT_FILES, FEW_FILES = 4096, 1024
"""Files that a process may open: each live browser and each connection of the pool is one."""
LEAST_MEMORY_BYTES = 2 * 10**9


def check_python(_subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether this Python and this kind of machine are what everything is tested with."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield told.fail(f"Python {version} is too old", "Install Python 3.11 or newer and make the .venv anew.")
    elif sys.maxsize < 2**32:
        yield told.fail(f"Python {version} is a 32-bit one", "Install a 64-bit Python and make the .venv anew.")
    else:
        yield told.ok(f"Python {version} in {sys.prefix}")
    system, kind = platform.system(), platform.machine()
    if system != "Linux":
        yield told.fail(f"this is {system}; processes are looked after as Linux does it", "Use a Linux machine.")
    elif kind != "x86_64":
        yield told.warn(f"this is {kind}; everything is tested on x86_64 only", "Run the tests here: ./scripts/test")


def check_disk(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell how much is free where pictures and the embedded database lie."""
    folder = existing(subject.settings.var_dir.absolute())
    yield tell_room(shutil.disk_usage(folder).free, folder, told)


def tell_room(free_bytes: int, folder: Path, told: Told) -> Finding:
    """Tell whether that much is enough to go on drawing."""
    says = f"{free_bytes / 1e9:.1f} GB free for VAR_DIR ({folder})"
    remedy = "Make room, or move VAR_DIR to a larger disk; `posegen sweep` deletes files that no row names."
    if free_bytes < FULL_BYTES:
        return told.fail(says, remedy)
    return told.warn(says, remedy) if free_bytes < TIGHT_BYTES else told.ok(says)


def check_limits(_subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell how many files a process may open, and how much memory is free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    says = f"a process may open {'any number of' if unlimited else soft} files"
    remedy = "ulimit -n 65536 before starting; in systemd LimitNOFILE=65536 (the units in scripts/systemd have it)."
    if not unlimited and soft < FEW_FILES:
        yield told.fail(f"{says}; the API needs one for each browser", remedy)
    elif not unlimited and soft < TIGHT_FILES:
        yield told.warn(f"{says} ({hard} at most)", remedy)
    else:
        yield told.ok(says)
    memory = psutil.virtual_memory()
    says = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB of memory are free"
    if memory.available < LEAST_MEMORY_BYTES:
        yield told.warn(says, "End something else, or the kernel may end a worker when memory runs out.")
    else:
        yield told.ok(says)


def check_port(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether the API's port is free, or answered by a Posegen already."""
    host, port = subject.settings.host, subject.settings.port
    try:
        free_port([], host)
    except OSError:
        yield told.fail(
            f"{host} is no address of this machine", "Set HOST to one of its addresses, or to 0.0.0.0 for all of them."
        )
        return
    if is_free(port, host):
        yield told.ok(f"port {port} is free for the API")
        return
    answer = health_at(host, port)
    if answer is None:
        yield told.fail(
            f"port {port} cannot be had, and no Posegen answers there",
            "Set PORT to a free one above 1023, or end what listens there: ss -ltnp",
        )
    elif answer.get("status") == "unhealthy":
        yield told.warn(
            f"a Posegen answers on port {port}: unhealthy", f"Ask it what it lacks: curl :{port}{HEALTH_PATH}"
        )
    else:
        yield told.ok(f"a Posegen answers on port {port}: {answer.get('status')}")


def existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(there for there in (folder, *folder.parents) if there.exists())
