"""`posegen doctor` as an operator types it, on a bare machine and on a good one: real processes, real servers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.examined import SECRET

from posegen.ports import free_port
from posegen.private_redis import PrivateRedis

ROOT = Path(__file__).parents[3]


def doctor(folder: Path, *argv: str, files: int = 20_000, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, allowed to open so many files."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = f'ulimit -n {files} && exec "$0" -m posegen doctor "$@"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *argv],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def told_by(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """The findings of `--json`, by verdict."""
    answer = json.loads(done.stdout)
    told: dict[str, list[dict[str, Any]]] = {"ok": [], "warn": [], "fail": []}
    for finding in answer["findings"]:
        told[finding["verdict"]].append(finding)
    return told


def test_a_bare_machine_is_told_what_it_lacks_and_is_left_as_it_was(tmp_path: Path) -> None:
    nobody = str(free_port())

    done = doctor(
        tmp_path, "--json", "--device", "cpu", files=500, REDIS_HOST="127.0.0.1", REDIS_PORT=nobody, PROFILE="flux9"
    )

    told = told_by(done)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [finding["check"] for finding in told["fail"]] == ["settings", "settings", "database", "redis", "limits"]
    assert all(finding["remedy"] for finding in told["fail"])
    assert "JWT_SECRET" in told["fail"][0]["says"]
    assert "token_urlsafe" in told["fail"][0]["remedy"]
    assert "PROFILE" in told["fail"][1]["says"]
    assert "posegen migrate" in told["fail"][2]["remedy"]
    assert list(tmp_path.iterdir()) == []


def test_a_good_machine_passes_and_says_so_line_by_line(
    tmp_path: Path, sqlite_url: str, redis_server: PrivateRedis, redis_url: str
) -> None:
    (tmp_path / "var" / "storage").mkdir(parents=True)
    settings = {"JWT_SECRET": SECRET, "DATABASE_URL": sqlite_url, "REDIS_URL": redis_url, "PORT": str(free_port())}

    done = doctor(tmp_path, "--device", "cpu", **settings)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("fail")]
    for check in (
        "settings",
        "secrets",
        "python",
        "cards",
        "weights",
        "licence",
        "hub",
        "database",
        "redis",
        "storage",
    ):
        assert [line for line in lines if line.startswith(f"ok    {check}")], (check, done.stdout)
    assert SECRET not in done.stdout
    assert redis_server.url.split(":")[2].split("@")[0] not in done.stdout
