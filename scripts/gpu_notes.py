"""The notes of `bench_gpu.py`: a line of JSON for everything that is found, on disk at once, so that none is lost."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from gpu_work import Size


class NoteFile:
    """The notes of a run: a line of JSON each, on disk as soon as it is found; and what is said meanwhile."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.all: list[dict[str, Any]] = []

    def add(self, event: str, **facts: Any) -> None:
        """Note something."""
        note = {"event": event, **facts}
        self.all.append(note)
        self._file.write(json.dumps(note) + "\n")
        self._file.flush()

    def say(self, line: str) -> None:
        """Tell whoever waits."""
        print(line, file=sys.stderr, flush=True)


def read_notes(file: Path) -> list[dict[str, Any]]:
    """Read the notes of a run; a last line that was cut in the middle is left out."""
    notes = []
    for line in file.read_text().splitlines():
        try:
            notes.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return notes


def size_of(name: str) -> Size:
    """Read 1024x1024."""
    width, height = map(int, name.split("x"))
    return width, height


def name_of(size: Size) -> str:
    """Write 1024x1024."""
    return f"{size[0]}x{size[1]}"
