"""The supervisor: starts again what fell, gives up what cannot start, and leaves nothing behind."""

import signal
import sys
import time
from pathlib import Path

import pytest
from supervisor import PATIENCE, Program, Rank, Supervisor
from support.processes import RealProcess, nothing_left_behind
from support.waiting import wait_until

from posegen.exit_codes import ExitCode

SCRIPTS = Path(__file__).parents[2] / "scripts"
SLEEPS = "print('up', flush=True); import time; time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS
WITH_A_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); " + SLEEPS
)


def program(folder: Path, code: str, *, name: str = "part", rank: Rank = Rank.API) -> Program:
    return Program(name, rank, [sys.executable, "-c", code], log_file=folder / f"{name}.log", env={})


def wait_until_up(part: Program) -> None:
    wait_until(lambda: part.log_file.exists() and "up" in part.log_file.read_text(), message="not up")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_stopping_leaves_nothing_behind_not_even_grandchildren(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    with nothing_left_behind():
        part = program(tmp_path, WITH_A_CHILD)
        supervisor.start(part)
        wait_until_up(part)
        supervisor.stop()


def test_a_part_that_ignores_sigterm_is_killed_at_its_deadline_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    part = program(tmp_path, STUBBORN)
    part.stop_within_s = 0.2
    with nothing_left_behind():
        supervisor.start(part)
        wait_until_up(part)
        supervisor.stop()

    assert said == ["part did not end in time and was killed."]


def test_parts_that_ignore_sigterm_share_one_deadline(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    parts = [program(tmp_path, STUBBORN, name=f"part-{number}", rank=Rank.WORKER) for number in range(4)]
    with nothing_left_behind():
        for part in parts:
            part.stop_within_s = 1.0
            supervisor.start(part)
        for part in parts:
            wait_until_up(part)
        began = time.monotonic()
        supervisor.stop()
        took_s = time.monotonic() - began

    assert len(said) == 4
    assert 1.0 <= took_s < 3.5  # one after the other they would take four


def test_hurrying_does_not_wait_for_the_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    part = program(tmp_path, STUBBORN)
    part.stop_within_s = 600
    with nothing_left_behind():
        supervisor.start(part)
        wait_until_up(part)
        supervisor.stop(hurried=lambda: True)


def test_workers_stop_before_the_api_and_the_api_before_redis(tmp_path: Path) -> None:
    order = tmp_path / "order"
    notes = "import signal, sys, os\ndef end(*_):\n open({order!r}, 'a').write({name!r} + '\\n'); sys.exit()\n"
    notes += "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\nsignal.pause()"
    supervisor = Supervisor(print)
    for name, rank in (("redis", Rank.REDIS), ("api", Rank.API), ("worker", Rank.WORKER)):
        part = program(tmp_path, notes.format(order=str(order), name=name), name=name, rank=rank)
        supervisor.start(part)
        wait_until_up(part)

    supervisor.stop()

    assert order.read_text().split() == ["worker", "api", "redis"]


def test_a_fallen_part_is_started_again_after_a_wait_that_doubles(tmp_path: Path) -> None:
    clock, said = Clock(), list[str]()
    supervisor = Supervisor(said.append, clock=clock)
    part = program(tmp_path, "raise SystemExit(3)")
    supervisor.start(part)
    starts: list[float] = []
    for _ in range(4):
        wait_until(lambda: part.exit_code is not None)
        supervisor.look_after()
        fell_at = clock.now_s
        while part.exit_code is not None and clock.now_s < fell_at + 60:
            clock.now_s += 0.5
            supervisor.look_after()
            if said[-1] == "part was started again.":
                break
        starts.append(clock.now_s - fell_at)
    supervisor.stop()

    assert starts == [1.0, 2.0, 4.0, 8.0]


def test_a_part_that_lived_well_is_started_again_soon(tmp_path: Path) -> None:
    clock, said = Clock(), list[str]()
    supervisor = Supervisor(said.append, clock=clock)
    part = program(tmp_path, SLEEPS)
    supervisor.start(part)
    for _ in range(3):
        clock.now_s += 3600
        part.stop(lambda: True)
        supervisor.look_after()
        clock.now_s += 1
        supervisor.look_after()
    supervisor.stop()

    assert [sentence for sentence in said if "again in" in sentence and "again in 1 s" not in sentence] == []


def falls(supervisor: Supervisor, part: Program, clock: Clock, said: list[str], *, times: int) -> list[float]:
    """Let a part end so often; return how long each next start was waited for."""
    waits = []
    for _ in range(times):
        wait_until(lambda: part.exit_code is not None)
        supervisor.look_after()
        fell_at = clock.now_s
        while said[-1] != "part was started again.":
            clock.now_s += 1
            supervisor.look_after()
        waits.append(clock.now_s - fell_at)
        said.append("lives")
    return waits


def test_a_part_whose_card_fails_waits_longer_and_is_told_of_when_it_goes_on(tmp_path: Path) -> None:
    clock, said = Clock(), list[str]()
    supervisor = Supervisor(said.append, clock=clock)
    part = program(tmp_path, f"raise SystemExit({int(ExitCode.CARD_FAILED)})")
    supervisor.start(part)
    waits = falls(supervisor, part, clock, said, times=6)
    supervisor.stop()

    assert waits == [5, 10, 20, 40, 300, 300]
    told = [sentence for sentence in said if "in a row" in sentence]
    assert len(told) == 2
    assert told[0].startswith("part: exit code 74, card failed, 5 times in a row: check the card (nvidia-smi -q")


def test_a_card_that_fails_again_after_minutes_is_not_well(tmp_path: Path) -> None:
    """Loading alone takes a minute: that a process lived so long says little of its card."""
    clock, said = Clock(), list[str]()
    supervisor = Supervisor(said.append, clock=clock)
    part = program(tmp_path, f"raise SystemExit({int(ExitCode.CARD_FAILED)})")
    supervisor.start(part)
    waits = []
    for lived_s in (120, 120, PATIENCE[ExitCode.CARD_FAILED].lived_well_s + 1):
        clock.now_s += lived_s
        waits += falls(supervisor, part, clock, said, times=1)
    supervisor.stop()

    assert waits == [5, 10, 5]


def test_a_part_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    clock, said = Clock(), list[str]()
    supervisor = Supervisor(said.append, clock=clock)
    part = program(tmp_path, f"raise SystemExit({int(ExitCode.CANNOT_START)})")
    supervisor.start(part)
    wait_until(lambda: part.exit_code is not None)
    for _ in range(100):
        supervisor.look_after()
        clock.now_s += 60
    supervisor.stop()

    assert len(said) == 1
    assert "cannot start" in said[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_supervisor_that_is_killed_takes_its_children_along(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from supervisor import *\n"
        "supervisor = Supervisor(print)\n"
        f"for name in ('a', 'b'): supervisor.start(Program(name, Rank.WORKER, [sys.executable, '-c', {STUBBORN!r}],\n"
        "    log_file=Path(sys.argv[1]) / name, env=dict(os.environ)))\n"
        "print('started', flush=True); time.sleep(600)"
    )
    with nothing_left_behind():
        starter = RealProcess(
            [sys.executable, "-c", code, tmp_path], log_file=tmp_path / "log", env={"PYTHONPATH": str(SCRIPTS)}
        )
        starter.wait_for_log("started")
        for name in ("a", "b"):
            wait_until(lambda file=tmp_path / name: file.exists() and "up" in file.read_text())
        starter.send(number)
        starter.wait()


def test_a_child_that_was_left_behind_is_found(tmp_path: Path) -> None:
    part = program(tmp_path, SLEEPS)

    with pytest.raises(AssertionError, match="left behind"), nothing_left_behind(timeout_s=0.2):
        part.start()

    part.stop(lambda: True)


def test_a_stopped_part_does_not_wait_for_its_deadline(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    part = program(tmp_path, SLEEPS)
    supervisor.start(part)
    wait_until_up(part)
    began = time.monotonic()
    supervisor.stop()

    assert time.monotonic() - began < part.stop_within_s / 2
