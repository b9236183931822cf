"""The real API under a real uvicorn, in a thread of the test: reached over TCP like any client reaches it."""

import asyncio
import faulthandler
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from api.__main__ import server_config
from api.app import create_app
from api.tokens import Tokens
from posegen.ports import free_port
from posegen.settings import Settings
from support.waiting import wait_until

SECRET = "a secret for tests that is long enough"
ROOT = "/api/apps/pose-generator"
STOPS_WITHIN_S = 40.0
NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def settings_for(database_url: str, folder: Path, *, redis_url: str = NOBODY_LISTENS, **more: Any) -> Settings:
    """Settings of a small service: the built-in model, fast rounds, rates that no test meets by accident."""
    given = {
        "jwt_secret": SECRET,
        "database_url": database_url,
        "redis_url": redis_url,
        "var_dir": folder,
        "profile": "tiny",
        "recover_every_s": 0.2,
        "login_rate": "1000/minute",
        "register_rate": "1000/minute",
        "generate_rate": "1000/minute",
        "generate_pictures_rate": "100000/minute",
        "profile_rate": "1000/minute",
        "upload_rate": "1000/minute",
        **more,
    }
    return Settings(_env_file=None, **given)


class Served:
    """A running API: its address, its settings, and clients for it."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{port}"
        self.clients: list[httpx2.Client] = []

    def token(self, user_id: str) -> str:
        """A login of a user that exists."""
        return Tokens(self.settings).issue(user_id, f"{user_id}@example.com")

    def client(self, user_id: str | None = None, **headers: str) -> httpx2.Client:
        """A client, logged in as the user if one is named."""
        if user_id is not None:
            headers["Authorization"] = f"Bearer {self.token(user_id)}"
        client = httpx2.Client(base_url=self.url, headers=headers, timeout=30.0)
        self.clients.append(client)
        return client


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """Serve until the block ends."""
    port = free_port()
    server = uvicorn.Server(server_config(create_app(settings), "127.0.0.1", port))
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    served = Served(settings, port)
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the API did not start"
        yield served
    finally:
        for client in served.clients:
            client.close()
        server.should_exit = True
        thread.join(STOPS_WITHIN_S)
        if thread.is_alive():
            faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
            raise AssertionError(f"the API did not stop; its tasks: {_tasks(server)}")


def _tasks(server: uvicorn.Server) -> list[str]:
    """What the API's event loop still waits for."""
    loop = server.servers[0].get_loop()
    return [f"{task.get_name()} at {task.get_stack(limit=3)}" for task in asyncio.all_tasks(loop)]
