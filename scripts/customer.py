"""A customer of the service who writes down everything: REST calls, live events, and the promises that were kept.

Uses nothing of the service's inside. Whatever is not as promised raises PromiseBroken, which names the promise; lines
of the transcript hold no token: a signed link is told without its query and with its secret part cut out.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx2
import socketio
from live_client import LiveClient
from PIL import Image

NAMESPACE = "/pose-generator"
EVENT = "pose-generation-update"
_POLL_S = 0.02
_SECRET_PART = re.compile(r"(/files/)[^/]+/")


class PromiseBroken(Exception):
    """Something was not as the contract promises; the text names the promise and what was seen."""


class Transcript:
    """Prints what happens, with the seconds since it began."""

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """Begin a part of the walk."""
        self._say(f"\n{text}")

    def line(self, text: str) -> None:
        """Tell one thing."""
        self._say(f"{time.monotonic() - self._began:8.2f}  {text}")

    def promise(self, sentence: str, kept: object, seen: object = "") -> None:
        """Tell a promise that was kept. Raises PromiseBroken when it was not; `seen` says what was seen instead."""
        if not kept:
            raise PromiseBroken(f"{sentence}{f' (seen: {seen})' if seen != '' else ''}")
        self.line(f"  kept: {sentence}")


class Customer:
    """The REST side. `headers` carries the login once there is one."""

    def __init__(self, url: str, transcript: Transcript) -> None:
        self.url = url
        self.transcript = transcript
        self.token = ""
        self._http = httpx2.Client(base_url=url, timeout=60.0)
        self._without_login = httpx2.Client(timeout=60.0)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._without_login.close()

    def use(self, token: str) -> None:
        """Be logged in from now on."""
        self.token = token
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(
        self, method: str, path: str, expect: int, *, show: Sequence[str] = (), quiet: bool = False, **more: Any
    ) -> Any:
        """Call the API and return its JSON; `show` names the fields (`a.b.0.c`) that the transcript tells.

        Raises PromiseBroken for another status than `expect`.
        """
        answer = self._http.request(method, path, **more)
        told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        if answer.status_code != expect:
            sentence = told.get("message", answer.text[:200]) if isinstance(told, dict) else answer.text[:200]
            raise PromiseBroken(f"{method} {path} answers {expect} (seen: {answer.status_code}, {sentence})")
        if not quiet:
            fields = "  ".join(f"{name}={shown(field(told, name))}" for name in show)
            self.transcript.line(f"{method} {path}  {answer.status_code}  {fields}".rstrip())
        return told if told else answer.content

    def picture(self, url: str) -> Image.Image:
        """Open a picture by its signed link as an <img> tag would: no headers, no login."""
        parts = urlsplit(url)  # PUBLIC_BASE_URL may name a front door that this machine cannot use
        address = f"{self.url}{parts.path}?{parts.query}" if parts.path.startswith("/api/") else url
        answer = self._without_login.get(address)
        if answer.status_code != httpx2.codes.OK:
            raise PromiseBroken(f"A signed link opens without a login (seen: {answer.status_code} for {shown(url)})")
        with Image.open(BytesIO(answer.content)) as opened:
            opened.load()
        self.transcript.line(
            f"GET {shown(url)}  200  {answer.headers['content-type']} {opened.width}x{opened.height} "
            f"{len(answer.content)} bytes"
        )
        return opened


class Channel:
    """The Socket.IO side: every event over all connections, in the order of arrival."""

    def __init__(self, customer: Customer) -> None:
        self._customer = customer
        self._socket: Any = None
        self._connection = 0
        self._lock = Lock()
        self._deaf_after = ""
        self.events: list[dict[str, Any]] = []

    def open(self, *, after: int | None = None, deaf_after: str = "") -> None:
        """Connect; `after` is the last event that was seen. Behind the first event `deaf_after` nothing is heard."""
        self._deaf_after = deaf_after
        auth: dict[str, Any] = {"token": self._customer.token}
        if after is not None:
            auth["lastEventId"] = after
        self._socket = LiveClient(reconnection=False)
        self._socket.on(EVENT, partial(self._take, self._connection), namespace=NAMESPACE)
        told = "" if after is None else f", lastEventId={after}"
        self._customer.transcript.line(f"Socket.IO {NAMESPACE}: connect{told}")
        self._socket.connect(
            self._customer.url, auth=auth, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=10
        )

    def cut(self) -> int:
        """Cut the connection without a goodbye, as a dead network does; return the last event that was seen."""
        with self._lock:
            self._connection += 1  # what is still on its way is lost
            seen = self.last_seen
        wire = self._socket.eio.ws
        wire.sock.close()
        self._socket.disconnect()
        self._customer.transcript.line(f"Socket.IO {NAMESPACE}: cut after event {seen}")
        return seen

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            with suppress(socketio.exceptions.SocketIOError):
                self._socket.disconnect()

    @property
    def last_seen(self) -> int:
        """The number of the last event, 0 before the first."""
        return int(self.events[-1]["eventId"]) if self.events else 0

    def of(self, generation_id: str, kind: str = "") -> list[dict[str, Any]]:
        """Return the events of one generation, all or those of one type."""
        return [
            event for event in self.events if event["generationId"] == generation_id and kind in ("", event["type"])
        ]

    def _take(self, connection: int, event: dict[str, Any]) -> None:
        with self._lock:
            if connection != self._connection:
                return
            self.events.append(event)
            if event["type"] == self._deaf_after:
                self._connection += 1
        told = [f"{name}={shown(event[name])}" for name in _TOLD if event.get(name) is not None]
        self._customer.transcript.line(f"  event {event['eventId']} {event['type']}  {'  '.join(told)}".rstrip())


_TOLD = ("variationKey", "status", "completed", "failed", "total", "percentage", "estimatedTimeRemaining", "error")


def wait_for(condition: Callable[[], Any], promise: str, *, within_s: float) -> Any:
    """Return what `condition` answers once that is true. Raises PromiseBroken at the deadline."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise PromiseBroken(f"{promise} (not within {within_s:.0f} s)")
        time.sleep(_POLL_S)
    return answer


def field(told: Any, name: str) -> Any:
    """Return `a.b.0.c` of a JSON answer; None where it is missing."""
    for part in name.split("."):
        if isinstance(told, Mapping):
            told = told.get(part)
        elif isinstance(told, list) and part.isdecimal() and int(part) < len(told):
            told = told[int(part)]
        else:
            return None
    return told


def shown(value: Any) -> str:
    """Return a value as the transcript tells it: short, and without what opens a picture."""
    if isinstance(value, str) and ("/files/" in value or value.startswith(("http", "data:"))):
        return _SECRET_PART.sub(r"\1.../", value.split("?")[0])[:120]
    text = "null" if value is None else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
