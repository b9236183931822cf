"""One customer's client: REST with every call written down, and a socket that keeps what it was told, in order.

It behaves as a careful client does: a spending call carries an Idempotency-Key and is repeated with it until it is
answered, and a socket that broke comes back with the number of the last event it has seen.
"""

import json
import threading
import time
from typing import Any

import httpx2
from chaos_notes import Notes
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

NAMESPACE = "/pose-generator"
UPDATE = "pose-generation-update"
NO_ANSWER = 0
"""Noted instead of a status when the connection broke or nobody answered in time."""
_TIMEOUT_S = 45.0
_AGAIN_S = 0.3
_SILENT_S = 50.0
"""Engine.IO pings every 25 s and gives up after 20 more."""


class Unanswered(Exception):
    """The service gave no definite answer before the deadline."""


class Rest:
    """The REST side of a customer. Thread-safe: httpx clients are, and notes are."""

    def __init__(self, url: str, name: str, notes: Notes) -> None:
        self.name = name
        self._http = httpx2.Client(base_url=url, timeout=_TIMEOUT_S)
        self._notes = notes

    def log_in(self, token: str) -> None:
        """Send this token from now on."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, *, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Make one try; return status and JSON (NO_ANSWER and None when the connection broke)."""
        headers = {"Idempotency-Key": key} if key else {}
        began = time.time()
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx2.HTTPError as error:
            self._note(began, method, path, NO_ANSWER, key, type(error).__name__)
            return NO_ANSWER, None
        is_json = "json" in answer.headers.get("content-type", "")
        self._note(began, method, path, answer.status_code, key, answer.text[:300] if answer.is_error else "")
        return answer.status_code, answer.json() if is_json else answer.content

    def insist(
        self, method: str, path: str, *, body: Any = None, key: str | None = None, within_s: float = 120.0
    ) -> tuple[int, Any]:
        """Repeat a call until it is answered with something else than 503 or 429. Raises Unanswered."""
        deadline = time.monotonic() + within_s
        while True:
            status, answer = self.call(method, path, body=body, key=key)
            if status not in (NO_ANSWER, 429, 503):
                return status, answer
            if time.monotonic() > deadline:
                raise Unanswered(f"{method} {path}")
            time.sleep(_AGAIN_S)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _note(self, began: float, method: str, path: str, status: int, key: str | None, said: str) -> None:
        self._notes.add(
            "call",
            customer=self.name,
            began=began,
            took_s=time.time() - began,
            method=method,
            path=path.split("?")[0],
            status=status,
            key=key,
            said=said,
        )


class Ear(threading.Thread):
    """The socket of a customer, connected again and again with its cursor until `end`."""

    def __init__(self, url: str, token: str, name: str, notes: Notes) -> None:
        super().__init__(name=f"ear-{name}", daemon=True)
        self.told: list[dict[str, Any]] = []
        self.resyncs = 0
        self.connections = 0
        self._url = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
        self._token = token
        self._name = name
        self._notes = notes
        self._ended = threading.Event()

    @property
    def cursor(self) -> int:
        """The number of the last event heard, 0 before the first."""
        return int(self.told[-1]["eventId"]) if self.told else 0

    def run(self) -> None:
        """Stay connected until ended."""
        while not self._ended.is_set():
            try:
                with connect(self._url, open_timeout=10, max_size=None) as wire:
                    self._listen(wire)
            except (OSError, WebSocketException, ValueError) as error:
                self._notes.add("socket_broke", customer=self._name, error=repr(error))
            self._ended.wait(_AGAIN_S)

    def end(self) -> None:
        """Hang up."""
        self._ended.set()

    def _listen(self, wire: ClientConnection) -> None:
        """Speak Engine.IO 4 and Socket.IO by hand: the library's client handles messages in a thread each."""
        silent_since = time.monotonic()
        while not self._ended.is_set():
            try:
                message = wire.recv(timeout=0.3)
            except TimeoutError:
                if time.monotonic() - silent_since > _SILENT_S:
                    raise OSError(f"not even a ping for {_SILENT_S:g} s") from None
                continue
            silent_since = time.monotonic()
            packet = message if isinstance(message, str) else message.decode()
            if packet.startswith("0"):  # opened: ask for our namespace
                wire.send(f"40{NAMESPACE},{json.dumps({'token': self._token, 'lastEventId': self.cursor})}")
            elif packet.startswith("2"):  # ping
                wire.send("3")
            elif packet.startswith(f"40{NAMESPACE}"):
                self.connections += 1
            elif packet.startswith(f"42{NAMESPACE},"):
                self._hear(*json.loads(packet.split(",", 1)[1]))
            elif packet.startswith(("1", "41", "44")):  # closed, sent away, refused
                raise OSError(packet)

    def _hear(self, event: str, message: dict[str, Any]) -> None:
        if event == UPDATE:
            self.told.append(message)
            self._notes.add("told", customer=self._name, message=message)
        elif event == "resync":
            self._resync(message)

    def _resync(self, message: dict[str, Any]) -> None:
        self.resyncs += 1
        self._notes.add("resync", customer=self._name, message=message)
