"""`posegen top`: workers, cards and queue at a glance, live in a terminal.

It reads SQL, where workers report every few seconds, and asks Redis for a sign of life; the API may be down.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from posegen.bell import Bell
from posegen.database import Database, database_now
from posegen.errors import BellAway, DatabaseAway
from posegen.overview import Overview, finished_since, is_alive, read_overview
from posegen.statuses import WorkerStatus
from posegen.tables import WorkerRow
from posegen.terminal import console, errors, read_settings
from posegen.workforce import drawing_of

OVER = timedelta(minutes=5)
"""Pictures a minute are told as the mean over this time, beside those of the last minute."""
_GIB = 2**30
_SHADES = {WorkerStatus.READY: "green", WorkerStatus.STARTING: "yellow", WorkerStatus.DRAINING: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One look. finished: pictures of the last minute and of OVER; redis_is_up: whether it answers."""

    overview: Overview
    last_minute: dict[str, int]
    lately: dict[str, int]
    redis_is_up: bool


def look(database: Database, bell: Bell) -> Glance:
    """Look once. Raises DatabaseAway."""
    with database.reading() as session:
        now = database_now(session)
        overview = read_overview(session, now=now)
        last_minute = finished_since(session, now - timedelta(minutes=1))
        lately = finished_since(session, now - OVER)
    try:
        bell.ping()
    except BellAway:
        return Glance(overview=overview, last_minute=last_minute, lately=lately, redis_is_up=False)
    return Glance(overview=overview, last_minute=last_minute, lately=lately, redis_is_up=True)


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one frame as a JSON object and end.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between frames.")] = 2.0,
) -> None:
    """Show workers, cards, queue and pictures a minute. Ctrl-C ends it."""
    settings = read_settings()
    database, bell = Database(settings.sql_url), Bell(settings.bell_url)
    try:
        if once or as_json:
            _show_once(lambda: look(database, bell), as_json=as_json)
        else:
            _show_live(lambda: look(database, bell), every_s=every_s)
    finally:
        bell.close()
        database.close()


def _show_once(look_: Callable[[], Glance], *, as_json: bool) -> None:
    try:
        glance = look_()
    except DatabaseAway as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(told(glance)))
    else:
        console.print(frame(glance))


def _show_live(look_: Callable[[], Glance], *, every_s: float) -> None:
    last: RenderableType = ""
    try:
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                try:
                    last = frame(look_())
                    live.update(last, refresh=True)
                except DatabaseAway as error:
                    live.update(Group(Text(f"{error} Trying again ...", style="red"), last), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        pass


def told(glance: Glance) -> dict[str, Any]:
    """Return a frame as plain data, for `--json`."""
    overview = glance.overview
    return {
        "at": overview.now.isoformat(),
        "redisUp": glance.redis_is_up,
        "queue": [asdict(line) for line in overview.lines],
        "photosWaiting": overview.photos_waiting,
        "finishedLastMinute": glance.last_minute,
        "finishedPerMinute": {state: _per_minute(count) for state, count in glance.lately.items()},
        "workers": [_worker_told(row, overview) for row in overview.workers],
    }


def frame(glance: Glance) -> RenderableType:
    """Return a frame for people."""
    overview = glance.overview
    return Group(_headline(glance), Text(), _queue_table(overview), Text(), _workers_table(overview), *_ended(overview))


def _headline(glance: Glance) -> Text:
    line = Text(f"Posegen  {glance.overview.now:%Y-%m-%d %H:%M:%S} UTC   ", style="bold")
    line.append("database up  ", style="green")
    line.append("redis up" if glance.redis_is_up else "redis away", style="green" if glance.redis_is_up else "red")
    line.append(f"   {glance.last_minute['completed']} pictures in the last minute", style="bold")
    line.append(f", {_per_minute(glance.lately['completed']):g} a minute over {OVER.seconds // 60}", style="default")
    if glance.lately["failed"]:
        line.append(f", {glance.lately['failed']} failed", style="red")
    return line


def _queue_table(overview: Overview) -> RenderableType:
    if not overview.lines and not overview.photos_waiting:
        return Text("Nothing waits.", style="dim")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("queue", "waiting", "drawing", "oldest"):
        table.add_column(name, justify="left" if name == "queue" else "right")
    for line in overview.lines:
        oldest = "" if line.oldest_s is None else duration(line.oldest_s)
        table.add_row(line.profile, str(line.waiting), str(line.drawing), oldest)
    if overview.photos_waiting:
        table.add_row("photos", str(overview.photos_waiting), "", "")
    return table


def _workers_table(overview: Overview) -> RenderableType:
    alive = [row for row in overview.workers if is_alive(row, now=overview.now) and row.status in _SHADES]
    if not alive:
        return Text("No worker is running; start one with python -m gpu_worker.", style="red")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("worker", "device", "profile", "weights", "rows", "steps/s", "busy", "memory", "status", "heard"):
        table.add_column(
            name, justify="right" if name in {"rows", "steps/s", "busy", "memory", "heard"} else "left", no_wrap=True
        )
    for row in alive:
        drawing = drawing_of(row)
        weights = " ".join(part for part in (drawing.precision, _cache(drawing.cache)) if part)
        table.add_row(
            f"{row.host}:{row.pid}",
            f"{row.device} {row.device_name}" if row.device_name else row.device,
            row.profile or "?",
            weights,
            f"{row.rows_active}/{row.max_batch}",
            "" if row.steps_per_s is None else f"{row.steps_per_s:.1f}",
            "" if row.busy_share is None else f"{row.busy_share:.0%}",
            _memory(row.memory_bytes, drawing.memory_total_bytes),
            Text(row.status, style=_SHADES[WorkerStatus(row.status)]),
            f"{duration((overview.now - row.heartbeat_at).total_seconds())} ago",
        )
    return table


def _ended(overview: Overview) -> list[RenderableType]:
    """Name the workers that ended in trouble within the last minutes."""
    lines: list[RenderableType] = []
    for row in overview.workers:
        if is_alive(row, now=overview.now) and row.status in _SHADES:
            continue
        ago = duration((overview.now - row.heartbeat_at).total_seconds())
        why = row.error_message or "it is gone without a word"
        lines.append(Text(f"{row.host}:{row.pid} on {row.device} ended {ago} ago: {why}", style="red"))
    return lines and [Text(), *lines]


def _worker_told(row: WorkerRow, overview: Overview) -> dict[str, Any]:
    return {
        "name": row.name,
        "host": row.host,
        "pid": row.pid,
        "device": row.device,
        "deviceName": row.device_name,
        "profile": row.profile,
        "status": row.status,
        "alive": is_alive(row, now=overview.now),
        "rowsActive": row.rows_active,
        "maxBatch": row.max_batch,
        "stepsPerSecond": row.steps_per_s,
        "picturesPerSecond": row.pictures_per_s,
        "busyShare": row.busy_share,
        "memoryBytes": row.memory_bytes,
        **{_camel(name): value for name, value in asdict(drawing_of(row)).items()},
        "heardSecondsAgo": round((overview.now - row.heartbeat_at).total_seconds(), 1),
        "error": row.error_message,
    }


def duration(seconds: float) -> str:
    """Say a time for people: 7 s, 4 min, 3 h, 2 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _per_minute(pictures: int) -> float:
    return round(pictures / (OVER.total_seconds() / 60), 1)


def _cache(cache: str | None) -> str | None:
    return None if cache in (None, "off") else f"cache {cache}"


def _memory(used: int | None, total: int | None) -> str:
    if used is None:
        return ""
    return f"{used / _GIB:.1f} GiB" if total is None else f"{used / _GIB:.1f}/{total / _GIB:.0f} GiB"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
