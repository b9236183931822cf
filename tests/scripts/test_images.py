"""What Docker would be given, checked without Docker: compose.yaml, Dockerfile.cuda and what they name."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from support.examined import SECRET, findings_of, subject_of
from support.processes import RealProcess
from support.waiting import wait_until
from typer.main import get_command

from gpu_worker.process import DRAIN_S, ENGINE_END_S
from posegen.cli import app
from posegen.doctor.bell import check_redis
from posegen.doctor.findings import Verdict
from posegen.ports import free_port
from posegen.private_redis import find_redis_server
from posegen.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile.cuda").read_text()
SECRETS = {"POSTGRES_PASSWORD": "a1b2", "REDIS_PASSWORD": "c3d4", "JWT_SECRET": SECRET}
WORKERS = ["worker-0", "worker-1", "worker-2", "worker-3"]


class Refused(Exception):
    """A variable that has to be set is not."""


def interpolated(variables: dict[str, str]) -> str:
    """Put variables into the file as Compose does: `${X:-default}`, `${X:?why}` and `$$`."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if found := variables.get(match[1]):
            return found
        if match[2] == ":?":
            raise Refused(match[3])
        return match[3]

    return re.sub(r"\$\$|\$\{(\w+)(:[-?])([^}]*)\}", value, COMPOSE)


def services(variables: dict[str, str] = SECRETS) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(interpolated(variables))["services"]
    return found


def against_the_specification(text: str) -> PyCompose:
    """Read a file by the Compose Specification; YAML's own anchors and `x-` parts resolved. Raises ValueError."""
    whole = {name: part for name, part in yaml.safe_load(text).items() if not name.startswith("x-")}
    return PyCompose.from_yaml(yaml.safe_dump(whole))


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_the_file_is_one_of_the_compose_specification() -> None:
    read = against_the_specification(interpolated(SECRETS))

    assert sorted(read.service_names()) == sorted(["api", "migrate", "postgres", "redis", "rq-dashboard", *WORKERS])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("stop_grace_period: 90s", "stop_grace_perod: 90s"),
        ("stop_grace_period: 90s", "stop_grace_period: soon"),
        ("condition: service_healthy", "condition: service_happy"),
    ],
)
def test_a_mistake_in_it_is_seen(right: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"services|unknown|invalid|perod"):
        against_the_specification(interpolated(SECRETS).replace(right, wrong))


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_secrets_of_ones_own(missing: str) -> None:
    with pytest.raises(Refused, match=missing):
        interpolated({**SECRETS, missing: ""})

    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|TOKEN|KEY)\w*:?-", COMPOSE)


def test_every_command_and_setting_in_it_exists() -> None:
    commands = [part for service in services().values() for part in (service.get("command"), _test_of(service)) if part]
    modules = {argv[argv.index("-m") + 1] for argv in commands if "-m" in argv}
    ours = {words for argv in commands for words in re.findall(r"posegen ([a-z]+)", " ".join(argv))}
    settings = set(services()["api"]["environment"]) - {"HF_HOME"}

    assert modules == {"api", "gpu_worker", "posegen.alive"}
    assert all(importlib.util.find_spec(module) for module in modules)
    assert ours == {"migrate", "library"}
    assert ours <= set(get_command(app).commands)  # type: ignore[attr-defined]
    assert settings <= {name.upper() for name in Settings.model_fields}


def _test_of(service: dict[str, Any]) -> list[str]:
    found: list[str] = service.get("healthcheck", {}).get("test", [])
    return found


def test_each_worker_has_a_card_of_its_own_and_each_profile_one_more() -> None:
    found = services()
    cards = [found[name]["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for name in WORKERS]
    started = {
        profile: [name for name in WORKERS if profile in found[name].get("profiles", [profile])]
        for profile in ("none", "cards-2", "cards-3", "cards-4")
    }

    assert cards == [["0"], ["1"], ["2"], ["3"]]
    assert started == {f"cards-{count}" if count > 1 else "none": WORKERS[:count] for count in (1, 2, 3, 4)}


def test_a_worker_has_time_to_drain_before_it_is_killed() -> None:
    for name in WORKERS:
        assert seconds(services()[name]["stop_grace_period"]) >= DRAIN_S + ENGINE_END_S + 20


def test_who_depends_waits_until_it_can_work() -> None:
    found = services()
    for name in ("api", *WORKERS):
        assert found[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    assert found["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert all(_test_of(found[name]) for name in ("postgres", "redis", "api", *WORKERS))


def test_only_api_and_dashboard_are_reached_from_outside_and_first_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:4000:4000"], "rq-dashboard": ["127.0.0.1:9181:9181"]}
    assert services()["rq-dashboard"]["profiles"] == ["ops"]


def test_the_redis_of_the_file_is_one_that_the_doctor_likes(tmp_path: Path) -> None:
    """Run its very command, on a free port and in a folder of ours."""
    port = free_port()
    _sh, _c, script = services()["redis"]["command"]
    script = script.replace("/data", str(tmp_path)).replace("/tmp/redis.conf", f"{tmp_path}/redis.conf")
    script = script.rstrip() + f" --port {port}"
    path = f"{find_redis_server().parent}:{os.environ['PATH']}"
    url = f"redis://:{SECRETS['REDIS_PASSWORD']}@127.0.0.1:{port}/0"
    environment = {"PATH": path, "REDISCLI_AUTH": SECRETS["REDIS_PASSWORD"]}

    with RealProcess(["sh", "-c", script], log_file=tmp_path / "redis.log", env=environment) as server:
        server.wait_for_log("Ready to accept connections")
        found = wait_until(lambda: findings_of(check_redis, subject_of(tmp_path, redis_url=url)))

    assert {finding.verdict for finding in found} == {Verdict.OK}, found
    assert SECRETS["REDIS_PASSWORD"] not in server.log


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("hadolint")
    return subprocess.run([linter, "--no-color", "-"], input=text, capture_output=True, text=True, timeout=60)


def test_the_dockerfile_is_clean_and_mistakes_in_it_are_seen() -> None:
    clean = hadolint(DOCKERFILE)
    as_root = hadolint(DOCKERFILE.replace("USER 10001:10001", "USER root"))
    broken = hadolint(DOCKERFILE.replace("WORKDIR", "WORKDIRR"))

    assert (clean.returncode, clean.stdout) == (0, "")
    assert "DL3002" in as_root.stdout
    assert broken.returncode != 0


def test_the_image_takes_no_more_into_it_than_what_runs() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    built_in = "!models/mannequin/weights/**/*.safetensors"
    let_in = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!") and line != built_in}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    extras = re.search(r'^EXTRAS="(.*)"$', (ROOT / "scripts/install_image.sh").read_text(), re.M)

    assert lines[0] == "*"
    assert let_in == packages | {"scripts", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert "**/.env*" in lines
    assert lines.index("**/*.safetensors") < lines.index(built_in)  # the last line that fits a file decides
    assert extras is not None
    assert set(extras[1].split()) <= set(project["project"]["optional-dependencies"])
    assert all((ROOT / name).exists() for name in let_in)
    assert "scripts/install_image.sh packages" in DOCKERFILE
    assert "scripts/install_image.sh posegen" in DOCKERFILE
