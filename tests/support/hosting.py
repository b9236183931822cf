"""A hosted endpoint on this machine, over real sockets: it draws, or it answers in every bad way there is."""

import base64
import importlib.util
import io
import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.errors import ModelsError
from models.fake import draw_by_hash
from models.hosted.wire import read_call, write_answer
from models.profiles import TINY
from models.requests import Failed, Finished, PictureRequest

HANDLER = Path(__file__).parents[2] / "scripts" / "hf_endpoint" / "handler.py"
Answer = Callable[["Exchange"], None]
Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    server: "_Server"
    sent: bytes = b""

    def do_POST(self) -> None:
        self.sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.endpoint.answer(self)

    def do_GET(self) -> None:
        self.server.endpoint.answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def say(self, status: int, content: bytes = b"", *, type_: str = "application/json", **headers: str) -> None:
        """Answer as a server does."""
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: "Endpoint"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up is what many tests are about


class Endpoint:
    """The server. `script` holds how the next calls are answered; when it is empty, `then` answers.

    seen: the headers and the parsed body of every call, oldest first.
    """

    def __init__(self, then: Answer) -> None:
        self.script: deque[Answer] = deque()
        self.then = then
        self.seen: list[tuple[Mapping[str, str], Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Exchange)
        self._server.endpoint = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def answer(self, exchange: Exchange) -> None:
        with self._lock:
            body = json.loads(exchange.sent) if exchange.sent else None
            self.seen.append((dict(exchange.headers), body))
            how = self.script.popleft() if self.script else self.then
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            how(exchange)
        finally:
            with self._lock:
                self._at_once -= 1

    def pictures_asked(self) -> list[int]:
        """How many pictures each call asked for."""
        return [len(body["inputs"]["pictures"]) for _headers, body in self.seen if body]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def endpoint(then: Answer | None = None) -> Iterator[Endpoint]:
    """Serve until the end of the block."""
    server = Endpoint(then or draws())
    try:
        yield server
    finally:
        server.close()


def load_handler(file: Path, folder: Path) -> Handler:
    """Make an `EndpointHandler` as the endpoints' own server does: from its file, with the repository's folder."""
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Handler = module.EndpointHandler(str(folder))
    return made


def toolkit(handler: Handler) -> Answer:
    """Answer as the endpoints' own server does around a custom handler: one call at a time, an exception is a 400."""
    guard = threading.Lock()

    def answer(exchange: Exchange) -> None:
        try:
            body = json.loads(exchange.sent)
            if "inputs" not in body and "instances" not in body:
                raise ValueError("Body needs to provide a inputs key")
            with guard:
                told = handler(body)
        except Exception as error:
            exchange.say(400, json.dumps({"error": str(error)}).encode())
            return
        exchange.say(200, json.dumps(told).encode())

    return answer


def draws(change: Callable[[dict[str, Any]], None] = lambda told: None, *, black: bool = False) -> Answer:
    """Draw by hash, in the form of our handler; `change` may spoil the answer."""

    def answer(exchange: Exchange) -> None:
        asked = read_call(json.loads(exchange.sent), TINY)
        told = write_answer(TINY.name, [_drawn(request, black=black) for request in asked])
        change(told)
        exchange.say(200, json.dumps(told).encode())

    return answer


def _drawn(request: PictureRequest | ModelsError, *, black: bool) -> Finished | Failed:
    if isinstance(request, ModelsError):
        return Failed(key="", error=request)
    pixels = draw_by_hash(request)
    return Finished(
        key=request.key,
        pixels=np.zeros_like(pixels) if black else pixels,
        denoise_s=0.01,
        steps_run=request.steps,
        backend="tiny",
        pose_applied=request.wants_pose and 1 / request.steps <= request.control_end,
    )


def paints(*, black: bool = False, size: tuple[int, int] | None = None, format_: str = "PNG") -> Answer:
    """Answer as the serverless text-to-image does: the bytes of a picture of the prompt and the seed."""

    def answer(exchange: Exchange) -> None:
        body = json.loads(exchange.sent)
        asked = body["parameters"]
        width, height = size or (asked["width"], asked["height"])
        shade = 0 if black else 40 + (hash((body["inputs"], asked.get("seed"))) % 200)
        file = io.BytesIO()
        Image.new("RGB", (width, height), (shade, shade // 2, shade)).save(file, format=format_)
        exchange.say(200, file.getvalue(), type_=f"image/{format_.lower()}")

    return answer


def says(
    status: int, content: bytes = b'{"error": "no"}', *, type_: str = "application/json", **headers: str
) -> Answer:
    """Answer with a status."""
    return lambda exchange: exchange.say(status, content, type_=type_, **headers)


def trickles(*, every_s: float = 0.05, times: int = 1000) -> Answer:
    """Begin to answer, and never end in time."""

    def answer(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Type", "application/json")
        exchange.send_header("Content-Length", "1000000")
        exchange.end_headers()
        for _ in range(times):
            exchange.wfile.write(b" ")
            time.sleep(every_s)

    return answer


def hangs(until: threading.Event) -> Answer:
    """Say nothing until told to; then draw."""

    def answer(exchange: Exchange) -> None:
        until.wait(30)
        draws()(exchange)

    return answer


def cuts_off(after: bytes = b"") -> Answer:
    """Break the connection, without an answer or in the middle of one."""

    def answer(exchange: Exchange) -> None:
        if after:
            exchange.send_response(200)
            exchange.send_header("Content-Type", "application/json")
            exchange.send_header("Content-Length", "100000")
            exchange.end_headers()
            exchange.wfile.write(after)
        # With a reset, as a gateway that dies; a plain close would be one kind of end only.
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(exchange.connection.detach())

    return answer


class _Caught:
    """An exchange that keeps the answer instead of sending it."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.content = b""
        self.type_ = ""

    def say(self, _status: int, content: bytes = b"", *, type_: str = "application/json", **_headers: str) -> None:
        self.content, self.type_ = content, type_


def floods(total_bytes: int, of: Answer | None = None) -> Answer:
    """Give a good answer and go on sending, in chunks of unknown number: whoever reads it all would be content."""

    def answer(exchange: Exchange) -> None:
        caught: Any = _Caught(exchange.sent)
        (of or draws())(caught)
        exchange.send_response(200)
        exchange.send_header("Content-Type", caught.type_)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        padding = b" " * 2**18
        for piece in (caught.content, *[padding] * (total_bytes // len(padding))):
            exchange.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        exchange.wfile.write(b"0\r\n\r\n")

    return answer


def png(size: tuple[int, int]) -> str:
    """A picture, as the handler's answer has it."""
    file = io.BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
