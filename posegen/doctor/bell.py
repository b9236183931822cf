"""Redis: reachable, keeping what it was told, and never throwing keys away to make room."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from posegen.bell import Bell
from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject
from posegen.errors import BellAway

OLDEST_REDIS = (6, 2)
_GIB = 2**30


def check_redis(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether Redis answers, what it keeps over a restart, and what it does when its memory is full."""
    settings = subject.settings
    try:
        parts = urlsplit(settings.bell_url)
        shown = f"Redis at {parts.hostname}:{parts.port or 6379}"
        bell = Bell(settings.bell_url)
    except ValueError:
        yield told.fail("REDIS_URL cannot be read as an address", "Write redis://:password@host:6379/0")
        return
    try:
        bell.ping()
        with bell.lent():
            found: dict[str, Any] = bell.redis.info()
    except BellAway as away:
        is_set = settings.redis_url.get_secret_value() or settings.redis_host
        remedy = "See that it runs, that it listens for this machine, and that its password is right."
        if not is_set:
            remedy = "./scripts/start runs a private one by itself; else install one and set REDIS_URL."
        yield told.fail(f"{shown} does not answer: {_why(away)}", remedy)
        return
    finally:
        bell.close()
    yield _version(shown, found, told)
    yield _kept(found, told)
    yield _room(found, told)


def _version(shown: str, found: dict[str, Any], told: Told) -> Finding:
    version = str(found["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        return told.fail(f"{shown} is {version}, too old for how jobs are taken from it", "Use Redis 6.2 or newer.")
    return told.ok(f"{shown} answers, version {version}")


def _kept(found: dict[str, Any], told: Told) -> Finding:
    if found.get("aof_enabled") and found.get("aof_last_write_status") != "ok":
        return told.fail(
            "it cannot write its append-only file", "See the disk that it writes to: it refuses all writes."
        )
    if not found.get("aof_enabled"):
        return told.warn(
            "it keeps no append-only file: its restart forgets rates, and what waits is rung for anew",
            "appendonly yes, appendfsync everysec in redis.conf.",
        )
    return told.ok("it keeps an append-only file")


def _room(found: dict[str, Any], told: Told) -> Finding:
    policy, most = found.get("maxmemory_policy"), int(found.get("maxmemory", 0))
    if policy != "noeviction":
        return told.fail(
            f"it throws keys away when its memory is full ({policy}): jobs and rates would vanish without a word",
            "maxmemory-policy noeviction in redis.conf; now: redis-cli CONFIG SET maxmemory-policy noeviction",
        )
    if most and int(found["used_memory"]) > 0.8 * most:
        says = f"{int(found['used_memory']) / _GIB:.2f} of its {most / _GIB:.2f} GiB are in use"
        return told.warn(says, "Raise maxmemory, or see what else lives there: a full one refuses all writes.")
    return told.ok("it throws nothing away when its memory is full (noeviction)")


def _why(away: BellAway) -> str:
    return (str(away.__cause__ or away).splitlines() or ["no answer"])[0]
