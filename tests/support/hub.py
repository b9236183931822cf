"""A Hugging Face hub of the tests: a real HTTP server that speaks as much of the hub's API as fetching needs.

Accounts, gating, commits, Git LFS digests and byte ranges; and a line that can be cut after so many bytes.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".model")
MEMBER, STRANGER, WRITER = "hf_member", "hf_stranger", "hf_writer"
"""Tokens of an account that accepted every licence, of one that accepted none, and the first one's that may write."""


@dataclass
class Repo:
    """A repository at one commit: its files by name."""

    files: dict[str, bytes]
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(sorted(name.encode() for name in self.files))).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path, *, gated: bool = False) -> "Repo":
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return cls(files=files, gated=gated)


@dataclass
class Hub:
    """What the server serves, and what was asked of it. cut_after: bytes of a body after which the line goes dead."""

    repos: dict[str, Repo] = field(default_factory=dict)
    cut_after: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def ranges(self, name: str) -> list[str | None]:
        """Return the ranges that were asked of a file, in order."""
        return [span for method, path, span in self.asked if method == "GET" and path.endswith(name)]


def entry(name: str, content: bytes) -> dict[str, object]:
    told: dict[str, object] = {"size": len(content), "blobId": git_digest(content)}
    if name.endswith(LARGE):
        told["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return told


def git_digest(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Run a hub on a free port until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.asked.append((self.command, path, self.headers.get("Range")))
            words = path.split("/")
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if token not in ("", MEMBER, STRANGER, WRITER):
                self._refuse(401, None, "Invalid credentials in Authorization header")
            elif words == ["api", "whoami-v2"]:
                role = "write" if token == WRITER else "read"
                self._json({"name": token, "auth": {"accessToken": {"role": role}}})
            elif words[:2] == ["api", "models"]:
                self._api("/".join(words[2:4]), words[4:], token)
            elif len(words) > 4 and words[2] == "resolve":
                self._file("/".join(words[:2]), words[3], "/".join(words[4:]), token)
            else:
                self._refuse(404, None, "Not found")

        def _api(self, name: str, call: list[str], token: str) -> None:
            repo = hub.repos.get(name)
            if repo is None:
                self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
            elif call[:1] == ["auth-check"]:
                if not self._is_kept_out(repo, name, token):
                    self._json({})
            elif call[:1] == ["revision"] and call[1] not in ("main", repo.commit):
                self._refuse(404, "RevisionNotFound", f"Invalid rev id: {call[1]}")
            elif call[:1] == ["tree"]:
                self._json(
                    [
                        {"type": "file", "path": file, "oid": git_digest(content), **_tree_entry(file, content)}
                        for file, content in repo.files.items()
                    ]
                )
            else:
                siblings = [{"rfilename": file, **entry(file, content)} for file, content in repo.files.items()]
                self._json({"id": name, "sha": repo.commit, "siblings": siblings, "gated": repo.gated})

        def _file(self, name: str, revision: str, file: str, token: str) -> None:
            repo = hub.repos.get(name)
            if repo is None or self._is_kept_out(repo, name, token):
                return
            if file not in repo.files:
                self._refuse(404, "EntryNotFound", "Entry not found")
                return
            content = repo.files[file]
            digest = hashlib.sha256(content).hexdigest() if file.endswith(LARGE) else git_digest(content)
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", repo.commit)
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = hub.cut_after.get(file)
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None and cut < len(body):
                self.close_connection = True

        def _is_kept_out(self, repo: Repo, name: str, token: str) -> bool:
            if repo.gated and token not in (MEMBER, WRITER):
                self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
                return True
            return False

        def _json(self, told: object) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: int, code: str | None, message: str) -> None:
            self.send_response(status)
            if code is not None:
                self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _tree_entry(name: str, content: bytes) -> dict[str, object]:
    told: dict[str, object] = {"size": len(content)}
    if name.endswith(LARGE):
        told["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return told
