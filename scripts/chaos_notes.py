"""What is written down during a run of scripts/chaos.py: one JSON line a thing, from any thread, and kept in memory.

The verdict is counted from these notes, the database and the store; nobody's word is taken for it.
"""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Notes:
    """An append-only list of dated facts, mirrored to a file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._kept: list[dict[str, Any]] = []
        self._file = file.open("w", buffering=1)

    def add(self, what: str, **facts: Any) -> dict[str, Any]:
        """Note something that happened now (or at `at`)."""
        fact = {"at": time.time(), "what": what, **facts}
        with self._lock:
            self._kept.append(fact)
            self._file.write(json.dumps(fact, default=str) + "\n")
        return fact

    def of(self, what: str) -> Iterator[dict[str, Any]]:
        """Yield what was noted under a name, oldest first."""
        with self._lock:
            kept = list(self._kept)
        return (fact for fact in kept if fact["what"] == what)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
