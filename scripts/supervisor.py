"""Keeps the service's processes alive while it serves, and takes all of them down in order.

Children are started, restarted and stopped by one thread only, the main one: the kernel ties a child's life to the
*thread* that started it. A child that ends is started again after 1, 2, 4 ... 30 s; one that says that it cannot
start (exit code 78, EX_CONFIG) is left alone, for trying again would not help.
"""

import os
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

CANNOT_START = os.EX_CONFIG
"""The exit code with which a child says that another try would end the same way."""
_LONGEST_WAIT_S = 30.0
_LIVED_WELL_S = 60.0
"""A child that lived this long is started again after the shortest wait."""


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
        if exit_code == CANNOT_START:
            life.given_up = True
            self._say(f"{part.name} cannot start and stays down; its log says why: {part.log_file}")
            return
        if self._clock() - life.started_at > _LIVED_WELL_S:
            life.falls = 0
        wait_s = self._wait_longer(life)
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        self._say(f"{part.name} ended ({how}) and is started again in {wait_s:g} s; its log: {part.log_file}")

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
        wait_s = min(2.0**life.falls, _LONGEST_WAIT_S)
        life.falls += 1
        life.again_at = self._clock() + wait_s
        return wait_s


def _rank(life: _Life) -> Rank:
    return life.part.rank
