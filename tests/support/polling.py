"""A Socket.IO client by hand, over HTTP, that sends and reads only what and when it is told to."""

import json
from typing import Any

import httpx2

NAMESPACE = "/pose-generator"


class Poller:
    """One Engine.IO session over long polling, logged in to the namespace if there is an `auth`."""

    def __init__(self, client: httpx2.Client, auth: dict[str, Any] | None) -> None:
        self.client = client
        hello = client.get("/socket.io/?EIO=4&transport=polling").text
        self.address = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(hello[1:])['sid']}"
        if auth is not None:
            self.log_in(auth)

    def log_in(self, auth: dict[str, Any]) -> None:
        self.send(f"40{NAMESPACE},{json.dumps(auth)}")

    def send(self, *packets: str) -> None:
        assert self.client.post(self.address, content="\x1e".join(packets)).text == "OK"

    def read(self) -> list[str]:
        """Return what waits for this client now."""
        return self.client.get(self.address).text.split("\x1e")
