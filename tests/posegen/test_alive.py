"""The health check of a container: real processes against a real API and a real database."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from support.examined import SECRET
from support.house import House
from support.serving import serving, settings_for

from posegen.database import Database, database_now
from posegen.ports import free_port
from posegen.statuses import WorkerStatus
from posegen.workforce import WorkerReport, report

ROOT = Path(__file__).parents[2]


def alive(*argv: str, **settings: object) -> subprocess.CompletedProcess[str]:
    given = {name: str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "posegen.alive", *argv],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "JWT_SECRET": SECRET, **given},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_api_is_alive_while_it_answers(tmp_path: Path, sqlite_url: str) -> None:
    with serving(settings_for(sqlite_url, tmp_path)) as served:
        port = served.url.rsplit(":", 1)[1]
        answered = alive("api", HOST="0.0.0.0", PORT=port)
    gone = alive("api", PORT=free_port())

    assert (answered.returncode, answered.stderr) == (0, "")
    assert gone.returncode == 1
    assert "No Posegen answers" in gone.stderr


def test_a_worker_is_alive_while_it_reports_from_this_host(sqlite_house: House) -> None:
    database: Database = sqlite_house.database
    url = str(database.url)

    def said(name: str, host: str, status: WorkerStatus) -> None:
        with database.writing() as session:
            told = WorkerReport(
                name=name, host=host, pid=1, device="cpu", device_name=None, profile="tiny", status=status, max_batch=1
            )
            report(session, told, now=database_now(session))

    said("elsewhere", "another-host", WorkerStatus.READY)
    alone = alive("worker", DATABASE_URL=url)
    said("here", socket.gethostname(), WorkerStatus.STARTING)
    loading = alive("worker", DATABASE_URL=url)
    said("here", socket.gethostname(), WorkerStatus.STOPPED)
    stopped = alive("worker", DATABASE_URL=url)

    assert (alone.returncode, loading.returncode, stopped.returncode) == (1, 0, 1), alone.stderr + loading.stderr
    assert "has reported lately" in alone.stderr


def test_other_words_are_no_health_check() -> None:
    assert alive("redis").returncode == 1
