"""Eyes beside the service while it is being broken: each delivered file as it was first seen, and rings after a loss.

The store is read directly, not through the API, so that an overwritten file cannot hide behind a cache.
"""

import hashlib
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import redis
from chaos_ground import Ground
from sqlalchemy import select

from posegen.errors import PosegenError
from posegen.statuses import GenerationStatus
from posegen.tables import GeneratedPicture

_LOOK_EVERY_S = 0.25
_COMMITTED_WITHIN = timedelta(seconds=60)
RING_WITHIN_S = 120.0
"""So long a ring is waited for after a loss of Redis."""


class FileWatch(threading.Thread):
    """Hashes every delivered file when it is first seen; `check` compares at the end."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(name="files", daemon=True)
        self.first_seen: dict[str, str] = {}
        self._ground = ground
        self._newest: datetime | None = None
        self._waiting: set[str] = set()
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until ended."""
        while not self._ended.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except PosegenError:
                continue  # the database is away

    def look(self, *, everything: bool = False) -> None:
        """Hash what was delivered since the last look; a file that cannot be read now is read at the next."""
        delivered = select(
            GeneratedPicture.created_at, GeneratedPicture.output_key, GeneratedPicture.thumbnail_key
        ).where(GeneratedPicture.status == GenerationStatus.COMPLETED)
        if self._newest is not None and not everything:
            delivered = delivered.where(GeneratedPicture.created_at > self._newest - _COMMITTED_WITHIN)
        with self._ground.database.reading() as session:
            for made_at, *keys in session.execute(delivered):
                self._waiting.update(key for key in keys if key and key not in self.first_seen)
                self._newest = max(made_at, self._newest or made_at)
        for key in sorted(self._waiting):
            digest = _digest(self._ground.storage_dir / key)
            if digest is not None:
                self.first_seen[key] = digest
                self._waiting.discard(key)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join(10)

    def digests(self) -> set[str]:
        """Return the hashes of everything that was delivered and seen."""
        return set(self.first_seen.values())

    def check(self) -> tuple[list[str], list[str]]:
        """Return the keys whose file is missing, and those whose file is another than when it was first seen."""
        self.look(everything=True)
        missing, overwritten = list(self._waiting), []
        for key, digest in self.first_seen.items():
            now = _digest(self._ground.storage_dir / key)
            if now is None:
                missing.append(key)
            elif now != digest:
                overwritten.append(key)
        return missing, overwritten


class RingWatch(threading.Thread):
    """Notes how often anybody rang, as Redis itself counts it, and whether a ring is waiting."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(name="rings", daemon=True)
        self.seen: list[tuple[float, int, int]] = []
        """(when, pushes since this Redis started, rings that wait)."""
        self._client = redis.Redis.from_url(ground.redis.url, socket_timeout=1, socket_connect_timeout=1)
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until ended."""
        while not self._ended.wait(0.1):
            try:
                pushes = self._client.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0)
                self.seen.append((time.time(), int(pushes), int(self._client.llen("rq:queue:posegen"))))
            except redis.RedisError:
                continue
        self._client.close()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join(10)

    def rung_after(self, lost_at: float, back_at: float) -> float | None:
        """Return how long after Redis was back a ring was seen: one that waits, or one more push. None: not in time."""
        before = 0
        for at, pushes, waiting in self.seen:
            if at < lost_at:
                before = pushes
            elif at > back_at + RING_WITHIN_S:
                return None
            elif at >= back_at:
                before = 0 if pushes < before else before  # it was started again and counts from 0
                if waiting or pushes > before:
                    return at - back_at
        return None


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
