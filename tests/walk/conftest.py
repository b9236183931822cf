"""A whole service of real processes for one test: API, workers, a private Redis, SQLite or PostgreSQL."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from live_client import LiveClient
from support.house import House
from support.processes import RealProcess
from support.waiting import wait_until

from posegen.database import Database, database_now
from posegen.library import seed_library
from posegen.ports import free_port
from posegen.poses.library_files import read_library
from posegen.private_redis import PrivateRedis
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
        self.http = httpx2.Client(base_url=url, timeout=20)
        answer = self.http.post("/api/auth/register", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        self.id: str = answer.json()["data"]["user"]["id"]
        self.token: str = answer.json()["data"]["token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        self._sockets: list[LiveClient] = []

    def close(self) -> None:
        for socket in self._sockets:
            socket.disconnect()
        self.http.close()

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
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fetch(self, url: str) -> bytes:
        answer = httpx2.get(f"{self.url}{url}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.content

    def post(self, path: str, body: Any, *, expect: int) -> Any:
        answer = self.http.post(path, json=body)
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


@dataclass(frozen=True)
class Operated:
    """A service that has served a little of everything, and what it said. Its API is down again."""

    service: Service
    secrets: dict[str, str]
    api_metrics: str
    worker_metrics: dict[str, str]
    health: dict[str, Any]
    orders: dict[str, str]
    logs: dict[str, str]


@pytest.fixture(scope="module")
def operated(
    tmp_path_factory: pytest.TempPathFactory, _migrated_sqlite: Path, redis_server: PrivateRedis
) -> Iterator[Operated]:
    """One service for a whole module: two workers of different speed, orders that succeed, fail and are cancelled."""
    folder = tmp_path_factory.mktemp("operated")
    shutil.copyfile(_migrated_sqlite, folder / "posegen.db")
    redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    made = Service(folder, f"sqlite:///{folder / 'posegen.db'}", redis_server.url)
    try:
        yield operate(made)
    finally:
        made.close()


def operate(service: Service) -> Operated:
    """Run the service through its day."""
    metrics_token = "metrics-token-" + secrets.token_hex(8)
    service.lease_s(60)  # nobody dies here, and a slow machine must not look like it
    service._env |= {"METRICS_PORT": str(free_port()), "METRICS_TOKEN": metrics_token, "LOG_FORMAT": "json"}
    api = service.start_api()
    workers = {
        name: service.start_worker(name, "--device", device, "--max-batch", "2")
        for name, device in (("slow", "fake:0.15:troubled"), ("fast", "fake:0.02:troubled"))
    }
    for worker in workers.values():
        worker.wait_for_log("worker.ready", timeout_s=90)
    ann = service.customer("ann", credits=10_000)
    ann.http.headers["X-Request-Id"] = "walk-order-1"
    words = "a woman holding a canary-prompt umbrella"
    orders = {"many": ann.order(4, 6, textPrompt=words)}
    ann.http.headers["X-Request-Id"] = "not fit for a log"
    wait_until(lambda: ann.status(orders["many"]) == "completed", timeout_s=90, message=lambda: workers["slow"].log)
    orders["bad"] = ann.order(1, 1, textPrompt=f"{words}, trouble-nan")
    wait_until(lambda: ann.status(orders["bad"]) == "failed", timeout_s=60, message=lambda: workers["fast"].log)
    orders["cancelled"] = ann.order(4, 6, textPrompt=words)
    ann.post(f"{APP}/generations/{orders['cancelled']}/cancel", {}, expect=200)
    link = ann.get(f"{APP}/generations/{orders['many']}/results")["results"][0]["outputImageUrl"]
    ann.fetch(link)
    file_token = link.split("/")[-2]
    httpx2.get(f"{service.url}{link.replace(file_token, file_token + 'canary-link')}")
    ann.http.post(f"{APP}/generate", json={"projectId": "canary-body", "batchSize": "canary-body"})
    httpx2.get(f"{service.url}{APP}/library", params={"search": "canary-query", "token": ann.token})
    wrong = {"email": ann.email, "password": "canary-wrong-password"}
    httpx2.post(f"{service.url}/api/auth/login", json=wrong, headers={"Authorization": "Bearer canary-bearer"})
    wait_until(lambda: not [item for item in service.house.items() if item.status in ("queued", "drawing")])
    health = httpx2.get(f"{service.url}{APP}/health").json()
    bearer = {"Authorization": f"Bearer {metrics_token}"}
    ports = {name: worker.log.split('"port": ')[1].split(",")[0].rstrip("}") for name, worker in workers.items()}
    told = {name: httpx2.get(f"http://127.0.0.1:{port}/metrics", headers=bearer) for name, port in ports.items()}
    refused = httpx2.get(f"http://127.0.0.1:{ports['fast']}/metrics")
    assert (refused.status_code, httpx2.get(f"{service.url}/metrics").status_code) == (401, 401)
    api_metrics = httpx2.get(f"{service.url}/metrics", headers=bearer).text
    api.terminate()
    return Operated(
        service=service,
        secrets={
            "prompt": "canary-prompt", "password": PASSWORD, "wrong password": "canary-wrong-password",
            "token": ann.token, "bearer": "canary-bearer", "body": "canary-body", "query": "canary-query",
            "jwt secret": service._env["JWT_SECRET"], "metrics token": metrics_token, "file token": file_token,
        },
        api_metrics=api_metrics,
        worker_metrics={name: answer.text for name, answer in told.items()},
        health=health,
        orders=orders,
        logs={"api": api.log, **{name: worker.log for name, worker in workers.items()}},
    )  # fmt: skip


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
