"""Keeps the service's processes alive while it serves, and takes all of them down in order.

Children are started, restarted and stopped by one thread only, the main one: the kernel ties a child's life to the
*thread* that started it. What a child's exit code (posegen.exit_codes) means for its next start is `PATIENCE`'s.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from pathlib import Path
from typing import Protocol

from posegen.child_processes import start_child, stop_child
from posegen.errors import Unavailable
from posegen.exit_codes import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait before a child is started again: the first time, doubling, at most `longest_s`.

    A child that lived for `lived_well_s` begins anew. One that falls `alarming` times in a row is told of with
    `what_to_do`, and waits `longest_s` from then on.
    """

    first_s: float = 1.0
    longest_s: float = 30.0
    lived_well_s: float = 60.0
    alarming: int | None = None
    what_to_do: str = ""

    def wait_s(self, falls: int) -> float:
        """Return the wait after so many falls in a row, the one just now included."""
        if self.alarming is not None and falls >= self.alarming:
            return self.longest_s
        return min(self.first_s * 2.0 ** (falls - 1), self.longest_s)


PATIENCE: Mapping[int, Patience] = {
    ExitCode.CARD_FAILED: Patience(
        first_s=5.0,
        longest_s=300.0,
        lived_well_s=900.0,
        alarming=5,
        what_to_do="check the card (nvidia-smi -q, dmesg | grep Xid), or take it out of CUDA_VISIBLE_DEVICES",
    ),
}
"""By exit code; all others have the usual patience, and CANNOT_START none: another try would end the same way.

A picture that breaks a card is given up by the fourth time, before the alarm (posegen.recovery).
"""
_USUAL = Patience()


class Rank(IntEnum):
    """Who stops first: those that use others before those that are used."""

    WORKER = 1
    API = 2
    REDIS = 3


class Part(Protocol):
    """One process of the service."""

    name: str
    rank: Rank
    log_file: Path

    def start(self) -> None:
        """Start it. Raises Unavailable or OSError when that cannot be done now."""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""

    def ask_to_stop(self) -> None:
        """Tell it to end, and return at once."""

    def stop(self, hurried: Callable[[], bool]) -> bool:
        """End it and all it started; say whether it went by itself. `hurried` turning true cuts the waiting short."""


class Program:
    """A part that is a plain command writing to a log file; it has `stop_within_s` to end after SIGTERM."""

    def __init__(
        self, name: str, rank: Rank, argv: Sequence[str | Path], *, log_file: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.rank = rank
        self.log_file = log_file
        self.stop_within_s = 10.0
        self._argv = argv
        self._env = env
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_at: float | None = None

    def start(self) -> None:
        """Start the command."""
        self._child = start_child(self._argv, log_file=self.log_file, env=self._env)
        self._asked_at = None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._child.poll() if self._child else None

    def ask_to_stop(self) -> None:
        """Send SIGTERM; `stop_within_s` counts from here."""
        self._asked_at = time.monotonic()
        if self._child and self._child.poll() is None:
            self._child.terminate()

    def stop(self, hurried: Callable[[], bool]) -> bool:
        """SIGTERM unless asked already, then SIGKILL once `stop_within_s` have passed since it was asked."""
        if self._child is None:
            return True
        if self._asked_at is None:
            self.ask_to_stop()
        deadline = (self._asked_at or time.monotonic()) + self.stop_within_s
        while self._child.poll() is None and time.monotonic() < deadline and not hurried():
            time.sleep(0.02)
        return stop_child(self._child, timeout_s=0)


@dataclass(slots=True)
class _Life:
    """What the supervisor remembers of a part."""

    part: Part
    started_at: float
    falls: int = 0
    patience: Patience = _USUAL
    again_at: float | None = None
    given_up: bool = False


class Supervisor:
    """Starts parts, starts them again, stops them by rank. Call everything from the main thread.

    `say` is given one sentence for each thing that a person should know.
    """

    def __init__(self, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lives: list[_Life] = []

    def start(self, part: Part) -> None:
        """Start a part and keep it alive from now on, whenever `look_after` is called."""
        part.start()
        self._lives.append(_Life(part, started_at=self._clock()))

    def look_after(self) -> None:
        """Note parts that ended and start those again whose wait is over."""
        for life in self._lives:
            if life.given_up:
                continue
            if life.again_at is not None:
                if self._clock() >= life.again_at:
                    self._start_again(life)
            elif life.part.exit_code is not None:
                self._note_fall(life, life.part.exit_code)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """End every part: the lowest rank first, those of one rank side by side. Returns when all are gone."""
        for _, lives in groupby(sorted(self._lives, key=_rank), key=_rank):
            parts = [life.part for life in lives]
            for part in parts:
                part.ask_to_stop()
            for part in parts:
                if not part.stop(hurried):
                    self._say(f"{part.name} did not end in time and was killed.")
        self._lives.clear()

    def _note_fall(self, life: _Life, exit_code: int) -> None:
        part = life.part
        if exit_code == ExitCode.CANNOT_START:
            life.given_up = True
            self._say(f"{part.name} cannot start and stays down; its log says why: {part.log_file}")
            return
        patience = PATIENCE.get(exit_code, _USUAL)
        if patience is not life.patience or self._clock() - life.started_at > patience.lived_well_s:
            life.patience, life.falls = patience, 0
        wait_s = self._wait_longer(life)
        how = f"signal {-exit_code}" if exit_code < 0 else _told(exit_code)
        self._say(f"{part.name} ended ({how}) and is started again in {wait_s:g} s; its log: {part.log_file}")
        if patience.alarming is not None and life.falls >= patience.alarming:
            self._say(f"{part.name}: {_told(exit_code)}, {life.falls} times in a row: {patience.what_to_do}.")

    def _start_again(self, life: _Life) -> None:
        try:
            life.part.start()
        except (Unavailable, OSError) as error:
            self._say(f"{life.part.name} did not start: {error} Next try in {self._wait_longer(life):g} s.")
            return
        life.started_at = self._clock()
        life.again_at = None
        self._say(f"{life.part.name} was started again.")

    def _wait_longer(self, life: _Life) -> float:
        life.falls += 1
        wait_s = life.patience.wait_s(life.falls)
        life.again_at = self._clock() + wait_s
        return wait_s


def _told(exit_code: int) -> str:
    try:
        return f"exit code {exit_code}, {ExitCode(exit_code).name.lower().replace('_', ' ')}"
    except ValueError:
        return f"exit code {exit_code}"


def _rank(life: _Life) -> Rank:
    return life.part.rank
