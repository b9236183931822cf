"""Asking the hub about an account: the token is told to the hub alone."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants

from models import hub_access


class Hub(BaseHTTPRequestHandler):
    """Points every question elsewhere once, and notes who was told a token."""

    told: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.told.append((self.path, self.headers["Authorization"]))
        self.send_response(200 if self.path == "/elsewhere" else 302)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_redirect_does_not_carry_the_token_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str | None]] = []
    server = HTTPServer(("127.0.0.1", 0), type("NotingHub", (Hub,), {"told": told}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        hub_access._ask("/api/whoami-v2", "owner/name", "hf_secret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert told == [("/api/whoami-v2", "Bearer hf_secret"), ("/elsewhere", None)]
