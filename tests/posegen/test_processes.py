"""A process is called gone only when it certainly is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.waiting import wait_until

from posegen.processes import is_gone, own_process

TELL_AND_WAIT = (
    "import time; from posegen.processes import own_process; print(own_process(), flush=True); time.sleep(600)"
)


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process and what it told of itself."""
    with subprocess.Popen([sys.executable, "-c", TELL_AND_WAIT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def test_who_runs_is_not_gone(other: tuple[subprocess.Popen[str], str]) -> None:
    own = own_process()

    assert own is not None
    assert not is_gone(own)
    assert not is_gone(other[1])


def test_who_is_stopped_is_not_gone(other: tuple[subprocess.Popen[str], str]) -> None:
    process, told = other
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None)

    assert not is_gone(told)


def test_who_was_killed_is_gone_before_its_parent_noticed(other: tuple[subprocess.Popen[str], str]) -> None:
    process, told = other
    process.kill()

    wait_until(lambda: is_gone(told), message="the death to be seen")

    process.wait()
    assert is_gone(told)


def test_another_process_with_the_same_number_does_not_hide_a_death() -> None:
    own = own_process()
    assert own is not None
    place_and_pid, _colon, started = own.rpartition(":")

    assert is_gone(f"{place_and_pid}:{int(started) - 1}")


def test_nothing_is_known_of_other_machines_and_containers(other: tuple[subprocess.Popen[str], str]) -> None:
    process, told = other
    boot, namespace, pid, started = told.split(":")
    process.kill()
    process.wait()

    assert not is_gone(f"{boot}:{int(namespace) + 1}:{pid}:{started}")
    assert not is_gone(f"another-boot:{namespace}:{pid}:{started}")
