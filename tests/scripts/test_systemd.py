"""The systemd units are ones that systemd understands, and say what the processes do: exit codes, time to drain."""

import shutil
import subprocess
from pathlib import Path

import pytest

from api.__main__ import LAST_REQUESTS_S
from gpu_worker.process import DRAIN_S, ENGINE_END_S
from posegen.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "scripts" / "systemd"
API, MIGRATE, WORKER = "posegen-api.service", "posegen-migrate.service", "gpu-worker@.service"


def settings_of(unit: str) -> dict[str, list[str]]:
    """Everything that a unit sets, by name; a name may be set more than once."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def verified(unit: str, folder: Path, *, instance: str = "", right: str = "", wrong: str = "") -> str:
    """What systemd has to say against a unit, with a Python that is here; empty when it has nothing."""
    text = (UNITS / unit).read_text().replace("/opt/posegen/.venv/bin/python", "/usr/bin/env python")
    (folder / unit).write_text(text.replace(right, wrong) if right else text)
    name = f"{folder / unit}:{instance}" if instance else str(folder / unit)
    done = subprocess.run(["systemd-analyze", "verify", name], capture_output=True, text=True, timeout=60)
    return done.stderr + ("" if done.returncode == 0 else f"ended with {done.returncode}")


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here: apt-get install systemd"
)


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "instance"), [(API, ""), (MIGRATE, ""), (WORKER, "gpu-worker@cuda:0.service"), (WORKER, "")]
)
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, unit: str, instance: str) -> None:
    assert verified(unit, tmp_path, instance=instance) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("KillMode=mixed", "KillMood=mixed", "KillMood"),
        ("Restart=always", "Restart=sometimes", "sometimes"),
        ("/usr/bin/env", "/usr/bin/nowhere/%i", "/usr/bin/nowhere/cuda:0"),
    ],
)
def test_a_mistake_in_a_unit_is_seen(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    assert told in verified(WORKER, tmp_path, instance="gpu-worker@cuda:0.service", right=right, wrong=wrong)


def test_what_a_restart_will_not_mend_is_not_restarted_and_everything_else_is() -> None:
    for unit in (API, WORKER):
        assert settings_of(unit)["Restart"] == ["always"]
        assert settings_of(unit)["RestartPreventExitStatus"] == [str(int(ExitCode.CANNOT_START))]
        assert settings_of(unit)["StartLimitIntervalSec"] == ["0"]


def test_nobody_is_killed_before_it_could_end_well() -> None:
    assert float(settings_of(WORKER)["TimeoutStopSec"][0]) >= DRAIN_S + ENGINE_END_S + 20
    assert float(settings_of(API)["TimeoutStopSec"][0]) >= LAST_REQUESTS_S + 10


def test_the_worker_may_use_its_card_and_compile_kernels() -> None:
    forbidden = {"PrivateDevices", "DeviceAllow", "DevicePolicy", "MemoryDenyWriteExecute", "PrivateUsers"}

    assert forbidden & set(settings_of(WORKER)) == set()


@pytest.mark.parametrize("unit", [API, MIGRATE, WORKER])
def test_units_run_what_is_here_as_a_user_without_rights(unit: str) -> None:
    found = settings_of(unit)
    modules = {command.split(" -m ")[1].split()[0] for command in found["ExecStart"]}

    assert all((ROOT / module / "__main__.py").exists() for module in modules)
    assert found["User"] == ["posegen"]
    assert found["EnvironmentFile"] == ["/etc/posegen/posegen.env"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
