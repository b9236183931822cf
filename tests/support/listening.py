"""A real Socket.IO client that writes down everything it is told, in order."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from live_client import LiveClient

from support.waiting import wait_until

NAMESPACE = "/pose-generator"
UPDATE = "pose-generation-update"
PREVIEW = "pose-generation-preview"
TOLD = ("connected", "resync", "pong", UPDATE, PREVIEW)


class Listener:
    """One connection. `heard` holds (event, message) pairs."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.refusals: list[Any] = []
        self._lock = threading.Lock()
        self._url = url
        self._socket = LiveClient(reconnection=False)
        self._wire: Any = None
        for event in TOLD:
            self._socket.on(event, self._noting(event), namespace=NAMESPACE)
        self._socket.on("connect_error", self.refusals.append, namespace=NAMESPACE)

    def connect(self, auth: Any, *, path: str = "socket.io") -> None:
        """Connect; raises socketio's ConnectionError when refused."""
        self._socket.connect(
            self._url,
            auth=auth,
            namespaces=[NAMESPACE],
            socketio_path=path,
            wait_timeout=10,
        )
        self._wire = self._socket.eio.ws

    def ping(self) -> None:
        self._socket.emit("ping", namespace=NAMESPACE)

    def close(self) -> None:
        self._socket.disconnect()
        if self._wire is not None:
            self._wire.shutdown()  # the library forgets it when the server hangs up first

    @property
    def is_connected(self) -> bool:
        return NAMESPACE in self._socket.namespaces

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [message for event, message in list(self.heard) if event == UPDATE]

    @property
    def numbers(self) -> list[int]:
        return [update["eventId"] for update in self.updates]

    @property
    def previews(self) -> list[dict[str, Any]]:
        return [message for event, message in list(self.heard) if event == PREVIEW]

    def wait_for(self, event: str, *, timeout_s: float = 10.0) -> Any:
        """Return the first message of this event, once it came."""
        wait_until(lambda: any(name == event for name, _ in list(self.heard)), timeout_s=timeout_s, message=event)
        return next(message for name, message in self.heard if name == event)

    def wait_for_updates(self, count: int, *, timeout_s: float = 15.0) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.updates) >= count, timeout_s=timeout_s, message=lambda: f"heard {self.heard}")
        return self.updates

    def _noting(self, event: str) -> Any:
        def note(message: Any = None) -> None:
            self.heard.append((event, message))

        return note


@contextmanager
def listening(url: str, auth: Any, **more: Any) -> Iterator[Listener]:
    """Connect, and disconnect at the end."""
    listener = Listener(url)
    try:
        listener.connect(auth, **more)
        yield listener
    finally:
        listener.close()
