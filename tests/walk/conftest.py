"""A whole service of real processes for one test: API, workers, a private Redis, SQLite or PostgreSQL."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live_client import LiveClient
from support.house import House
from support.processes import RealProcess
from support.waiting import wait_until

from posegen.database import Database, database_now
from posegen.library import seed_library
from posegen.ports import free_port
from posegen.poses.library_files import read_library
from posegen.storage import Storage

ROOT = Path(__file__).parents[2]
APP = "/api/apps/pose-generator"
NAMESPACE = "/pose-generator"
PASSWORD = "correct horse battery"
LEASE_S = 3


class Customer:
    """A client of the service: REST with a login, and a socket that keeps everything it was told."""

    def __init__(self, url: str, email: str) -> None:
        self.url = url
        self.email = email
        self.told: list[dict[str, Any]] = []
        self._http = httpx2.Client(base_url=url, timeout=20)
        answer = self._http.post("/api/auth/register", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        self.id: str = answer.json()["data"]["user"]["id"]
        self.token: str = answer.json()["data"]["token"]
        self._http.headers["Authorization"] = f"Bearer {self.token}"
        self._sockets: list[LiveClient] = []

    def close(self) -> None:
        for socket in self._sockets:
            socket.disconnect()
        self._http.close()

    def follow(self, *, after: int | None = None) -> list[dict[str, Any]]:
        """Open a socket, from event `after` on; return the list it fills."""
        told: list[dict[str, Any]] = []
        socket = LiveClient()
        socket.on("pose-generation-update", told.append, namespace=NAMESPACE)
        auth = {"token": self.token} if after is None else {"token": self.token, "lastEventId": after}
        socket.connect(self.url, auth=auth, namespaces=[NAMESPACE], transports=["websocket"])
        self._sockets.append(socket)
        return told

    def get(self, path: str, **query: Any) -> Any:
        answer = self._http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fetch(self, url: str) -> bytes:
        answer = httpx2.get(f"{self.url}{url}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.content

    def post(self, path: str, body: Any, *, expect: int) -> Any:
        answer = self._http.post(path, json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def order(self, poses: int, variations: int, **asked: Any) -> str:
        """Order so many poses of the library in a fresh project; return the generation's id."""
        body = self.order_body(poses, variations, **asked)
        return str(self.post(f"{APP}/generate", body, expect=202)["generationId"])

    def order_body(self, poses: int, variations: int, **asked: Any) -> dict[str, Any]:
        """What such an order sends."""
        project = self.post(
            f"{APP}/projects",
            {"projectName": "Walk", "avatarSource": "UPLOAD", "avatarImageUrl": "/me.png"},
            expect=201,
        )["project"]
        library = self.get(f"{APP}/library", limit=poses)["poses"]
        return {
            "projectId": project["id"],
            "generationType": "GALLERY_REFERENCE",
            "selectedPoseIds": [pose["id"] for pose in library],
            "batchSize": variations,
            **asked,
        }

    def status(self, generation_id: str) -> str:
        return str(self.get(f"{APP}/generations/{generation_id}")["generation"]["status"])


class Service:
    """The processes, and the house to look into their database."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = Database(database_url)
        self._processes: list[RealProcess] = []
        self._customers: list[Customer] = []
        self._env = {
            "VAR_DIR": str(folder / "var"),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "JWT_SECRET": secrets.token_hex(32),
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "LEASE_S": str(LEASE_S),
            "RECOVER_EVERY_S": "0.5",
            "REGISTER_RATE": "100/hour",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._seed()

    def _seed(self) -> None:
        """Four poses are enough to walk with; drawing the whole library takes a while."""
        library = read_library()
        with self.database.writing() as session:
            few = replace(library, poses=library.poses[:4])
            seed_library(session, Storage(self.folder / "var" / "storage"), few, now=database_now(session))

    def command(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "posegen", *arguments],
            env={**os.environ, **self._env},
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=60,
        )

    def configure(self, **settings: str) -> None:
        """Set settings for what is started from now on."""
        self._env.update(settings)

    def lease_s(self, seconds: int) -> None:
        """Set LEASE_S for what is started from now on."""
        self._env["LEASE_S"] = str(seconds)

    def start_api(self) -> RealProcess:
        api = self._start("api", "-m", "api")
        wait_until(self._answers, timeout_s=30, message=lambda: api.log)
        return api

    def start_worker(self, name: str, *arguments: str) -> RealProcess:
        return self._start(name, "-m", "gpu_worker", *arguments)

    def start_script(self, name: str, script: str, *arguments: str) -> RealProcess:
        """Start a process that is nearly one of ours."""
        return self._start(name, "-c", script, *arguments)

    def start_client(self, name: str, file: Path, *arguments: str) -> RealProcess:
        """Start a script of ours beside the service, with its settings."""
        return self._start(name, str(file), "--url", self.url, *arguments)

    def customer(self, name: str, *, credits: int) -> Customer:
        made = Customer(self.url, f"{name}@example.com")
        self._customers.append(made)
        self.command("credits", "grant", made.email, str(credits))
        return made

    @property
    def house(self) -> House:
        """The tests' way to look into the database (it adds no poses here)."""
        house = House.__new__(House)
        house.database = self.database
        return house

    def forwards(self, *workers: RealProcess) -> list[set[str]]:
        """The generations in each forward that the workers logged."""
        lines = [line for worker in workers for line in worker.log.splitlines() if '"engine.forward"' in line]
        return [set(json.loads(line)["generations"]) for line in lines]

    def close(self) -> None:
        for customer in self._customers:
            customer.close()
        for process in reversed(self._processes):
            process.kill()
        self.database.close()

    def _start(self, name: str, *argv: str) -> RealProcess:
        log_file = self.folder / f"{name}.log"
        process = RealProcess(["python", *argv], log_file=log_file, env=self._env, cwd=self.folder)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}{APP}/health", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False


@pytest.fixture
def sqlite_service(tmp_path: Path, sqlite_url: str, redis_url: str) -> Iterator[Service]:
    """The same on SQLite only, for what has nothing to do with the database."""
    made = Service(tmp_path, sqlite_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def postgres_service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    """The same on PostgreSQL only, for what happens to a database server."""
    made = Service(tmp_path, postgres_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def service(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Service]:
    """A migrated and seeded service, on SQLite and on PostgreSQL; nothing runs yet."""
    made = Service(tmp_path, database_url, redis_url)
    yield made
    made.close()
