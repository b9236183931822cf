"""Serve an endpoint's repository on this machine, to try it before it is deployed and paid for.

    python scripts/hf_endpoint/serve_here.py FOLDER [--port 8000] [--token TOKEN]

The handler is loaded and called as Hugging Face's own server does it: from the folder, with the folder first among the
places that modules come from, one call at a time, and with a 400 for whatever it raises. A worker then draws at it with
HF_ENDPOINT_URL=http://127.0.0.1:8000/. For one machine only: there is no TLS.
"""

import argparse
import hmac
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MOST_BODY_BYTES = 64 * 2**20
Handler = Callable[[dict[str, Any]], Any]


def load_handler(folder: Path) -> Handler:
    """Make the folder's `EndpointHandler`, as the endpoints' server does."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", folder / "handler.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"There is no handler.py in {folder}: run scripts/hf_endpoint/assemble.py first.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    made: Handler = module.EndpointHandler(str(folder))
    return made


@contextmanager
def served(handler: Handler, *, port: int = 0, token: str | None = None) -> Iterator[str]:
    """Serve until the end of the block; yields the address. Port 0: a free one."""
    server = _Server(handler, port, token)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: Handler, port: int, token: str | None) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.handler = handler
        self.token = token
        self.one_at_a_time = threading.Lock()


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._say(200, {"status": "Ok"})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if length > MOST_BODY_BYTES:
            self.close_connection = True
            self._say(413, {"error": "too large"})
            return
        sent = self.rfile.read(length)
        if not self._is_allowed():
            self._say(401, {"error": "Invalid credentials in Authorization header"})
            return
        try:
            body = json.loads(sent)
            if "inputs" not in body:
                raise ValueError("Body needs to provide a inputs key")
            with self.server.one_at_a_time:
                answer = self.server.handler(body)
        except Exception as error:  # what the endpoints' server does with anything that a handler raises
            self._say(400, {"error": str(error)})
            return
        self._say(200, answer)

    def _is_allowed(self) -> bool:
        token = self.server.token
        told = self.headers.get("authorization", "")
        return token is None or hmac.compare_digest(told.encode(), f"Bearer {token}".encode())

    def _say(self, status: int, told: Any) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve an endpoint's repository on this machine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token")
    asked = parser.parse_args()
    handler = load_handler(asked.folder.absolute())
    with served(handler, port=asked.port, token=asked.token) as url:
        print(f"{url} serves {asked.folder}, with the code in {Path(sys.modules['models'].__path__[0])}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
