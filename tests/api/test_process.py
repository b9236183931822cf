"""`python -m api` as a process: light, quick to start, and quick to stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
from support.listening import listening
from support.processes import RealProcess
from support.serving import ROOT, SECRET, Served
from support.waiting import wait_until
from uvicorn.config import STARTUP_FAILURE

from posegen.ports import free_port

FORBIDDEN = ("torch", "diffusers", "transformers", "numpy", "gpu_worker", "models.inflight", "models.runner")
START_AT_MOST_S = 5.0
"""Of the processor's time. The figure to beat is two seconds; a busy machine is slower by that measure too."""


def environment(database_url: str, folder: Path, **more: str) -> dict[str, str]:
    return {
        "JWT_SECRET": SECRET, "DATABASE_URL": database_url, "VAR_DIR": str(folder), "PROFILE": "tiny",
        "REDIS_URL": "redis://127.0.0.1:1/0", **more,
    }  # fmt: skip


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}{ROOT}/health").status_code == 200
    except httpx2.TransportError:
        return False


def test_the_api_loads_nothing_that_draws(tmp_path: Path) -> None:
    program = (
        "import sys; from api.app import create_app; from posegen.settings import Settings; create_app(Settings());"
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    )
    env = {**os.environ, **environment(f"sqlite:///{tmp_path}/x.db", tmp_path)}

    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_it_starts_serves_and_stops_when_asked(sqlite_url: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(sqlite_url, tmp_path)
    argv = ["python", "-m", "api", "--host", "127.0.0.1", "--port", str(port)]
    with RealProcess(argv, log_file=tmp_path / "api.log", env=env) as process:
        wait_until(lambda: answers(url), timeout_s=30, message=lambda: process.log)
        cpu = psutil.Process(process.pid).cpu_times()
        with httpx2.Client(base_url=url) as client:
            body = {"email": "ann@example.com", "password": "a long password"}
            token = client.post("/api/auth/register", json=body).json()["data"]["token"]
        with listening(url, {"token": token}) as ann:
            ann.wait_for("connected")
            process.send(signal.SIGTERM)
            code = process.wait(timeout_s=10)

    assert code == 0, process.log
    assert "api.stopped" in process.log
    assert "Traceback" not in process.log
    assert cpu.user + cpu.system < START_AT_MOST_S


def test_settings_that_cannot_work_end_it_with_a_sentence(tmp_path: Path) -> None:
    good = environment(f"sqlite:///{tmp_path}/x.db", tmp_path)
    for name, value, told in (("JWT_SECRET", "short", "JWT_SECRET"), ("PROFILE", "sdxl", "no profile 'sdxl'")):
        with RealProcess(
            ["python", "-m", "api"], log_file=tmp_path / f"{name}.log", env={**good, name: value}, cwd=tmp_path
        ) as process:
            assert process.wait(timeout_s=30) == os.EX_CONFIG
        assert told in process.log
        assert "Traceback" not in process.log


def test_a_taken_port_ends_it(sqlite_served: Served, sqlite_url: str, tmp_path: Path) -> None:
    port = sqlite_served.url.rsplit(":", 1)[1]
    env = environment(sqlite_url, tmp_path, HOST="127.0.0.1", PORT=port)
    with RealProcess(["python", "-m", "api"], log_file=tmp_path / "api.log", env=env) as process:
        assert process.wait(timeout_s=30) == STARTUP_FAILURE
    assert "address already in use" in process.log
