"""A browser's native WebSocket, as far as it matters to the tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket

from support.serving import ROOT, Served


class Client:
    """One connection that reads when told to."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket = socket

    def read(self) -> Any:
        """The next message, or the number it was closed with."""
        kind, content = self.socket.recv_data()
        return int.from_bytes(content[:2], "big") if kind == websocket.ABNF.OPCODE_CLOSE else json.loads(content)

    def read_until(self, type_: str) -> list[Any]:
        messages = [self.read()]
        while messages[-1]["type"] != type_:
            messages.append(self.read())
        return messages


@contextmanager
def following(served: Served, generation_id: str, **options: Any) -> Iterator[Client]:
    """Follow a generation; hang up at the end."""
    address = f"{served.url.replace('http', 'ws')}{ROOT}/ws/{generation_id}"
    socket = websocket.create_connection(address, timeout=20, **options)
    try:
        yield Client(socket)
    finally:
        socket.shutdown()  # close() would leave the connection open once the server has said goodbye
