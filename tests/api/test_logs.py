"""What the log of an API process never holds."""

from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update
from support.house import House
from support.processes import RealProcess
from support.serving import ROOT, SECRET
from support.waiting import wait_until

from posegen.ports import free_port
from posegen.tables import User

PASSWORD = "correct horse battery"
TOKEN = "a-token-that-somebody-else-could-use"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_login_that_breaks_is_logged_without_password_or_token(
    sqlite_house: House, sqlite_url: str, tmp_path: Path, log_format: str
) -> None:
    with sqlite_house.database.writing() as session:
        session.execute(update(User).values(password_hash="not a hash"))
    port = free_port()
    env = {
        "JWT_SECRET": SECRET, "DATABASE_URL": sqlite_url, "VAR_DIR": str(tmp_path), "PROFILE": "tiny",
        "REDIS_URL": "redis://127.0.0.1:1/0", "LOG_FORMAT": log_format,
    }  # fmt: skip
    argv = ["python", "-m", "api", "--host", "127.0.0.1", "--port", str(port)]
    with (
        RealProcess(argv, log_file=tmp_path / "api.log", env=env) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until(lambda: answers(client), timeout_s=30, message=lambda: process.log)
        login = {"email": "ann@example.com", "password": PASSWORD}
        answer = client.post("/api/auth/login", json=login, headers={"Authorization": f"Bearer {TOKEN}"})

        assert answer.status_code == 500
        process.wait_for_log("UnknownHashError")

    assert "check_login" in process.log, "the log should still say where it broke"
    for secret in (PASSWORD, TOKEN, SECRET):
        assert secret not in process.log


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get(f"{ROOT}/health").status_code == 200
    except httpx2.TransportError:
        return False
