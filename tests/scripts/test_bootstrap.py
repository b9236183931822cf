"""The bootstrap: installs when what it installs has changed, and only then. A pretended Python takes notes."""

import shutil
import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[2] / "scripts" / "bootstrap.sh"

PRETENDED_PYTHON = """#!/bin/sh
case "$*" in
  *"-m pip install"*) echo "$@" >> "$NOTES"; exit ${PIP_EXIT:-0} ;;
  *-VV*) echo "Python 3.11.7 (pretended)" ;;
esac
"""


class Clone:
    """A folder that looks like a fresh clone, with a .venv whose python only takes notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        (folder / "scripts").mkdir(parents=True)
        shutil.copy(BOOTSTRAP, folder / "scripts")
        (folder / "pyproject.toml").write_text("[project]\n")
        (folder / "constraints.txt").write_text("torch==1\n")
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        (folder / ".venv" / "lib" / "python3.11" / "site-packages" / "pip").mkdir(parents=True)
        python.write_text(PRETENDED_PYTHON)
        python.chmod(0o755)

    def install(self, extras: str, *, pip_exit: int = 0) -> subprocess.CompletedProcess[str]:
        command = f"source scripts/bootstrap.sh; make_venv; install_packages {extras}"
        return self.bash(command, {"NOTES": str(self.notes), "PIP_EXIT": str(pip_exit)})

    def bash(self, command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def installs(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_the_first_run_installs_the_extras_at_the_pinned_versions(clone: Clone) -> None:
    clone.install("gpu client")

    assert len(clone.installs) == 1
    assert clone.installs[0].endswith("-c constraints.txt -e .[gpu,client]")


def test_a_second_run_installs_nothing(clone: Clone) -> None:
    clone.install("gpu client")
    clone.install("gpu client")

    assert len(clone.installs) == 1


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_is_installed(clone: Clone, file: str) -> None:
    clone.install("gpu client")
    (clone.folder / file).write_text("changed\n")
    clone.install("gpu client")

    assert len(clone.installs) == 2


def test_a_clone_that_was_moved_is_installed_again(clone: Clone, tmp_path: Path) -> None:
    clone.install("gpu client")
    clone.folder = clone.folder.rename(tmp_path / "moved")
    clone.notes = clone.folder / "notes"
    clone.install("gpu client")

    assert len(clone.installs) == 2


def test_what_the_tests_installed_is_enough_to_start(clone: Clone) -> None:
    clone.install("gpu client dev")
    clone.install("gpu client")

    assert len(clone.installs) == 1


def test_what_start_installed_is_not_enough_for_the_tests(clone: Clone) -> None:
    clone.install("gpu client")
    clone.install("gpu client dev")

    assert len(clone.installs) == 2


def test_rtmlib_is_installed_without_the_builds_of_opencv_that_it_asks_for(clone: Clone) -> None:
    clone.install("gpu detect client")
    clone.install("gpu detect client")

    assert len(clone.installs) == 2
    assert clone.installs[0].endswith("-c constraints.txt -e .[gpu,detect,client]")
    assert clone.installs[1].endswith("--no-deps -c constraints.txt rtmlib")


def test_a_failed_installation_says_what_to_do_and_is_tried_again(clone: Clone) -> None:
    failed = clone.install("gpu client", pip_exit=1)
    clone.install("gpu client")

    assert failed.returncode == 1
    assert "Check the network and the disk" in failed.stderr
    assert len(clone.installs) == 2


def test_without_a_fitting_python_it_says_what_to_install(clone: Clone, tmp_path: Path) -> None:
    shutil.rmtree(clone.folder / ".venv")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "bash", "mkdir"):
        (programs / name).symlink_to(shutil.which(name) or name)

    answer = clone.bash("source scripts/bootstrap.sh; make_venv", {"PATH": str(programs)})

    assert answer.returncode == 1
    assert "needs Python 3.11 or newer" in answer.stderr


def test_a_system_without_apt_is_told_the_packages_by_name(clone: Clone, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "dirname").symlink_to(shutil.which("dirname") or "dirname")

    answer = clone.bash(
        'source scripts/bootstrap.sh; install_system_packages "No redis here" redis-server', {"PATH": str(programs)}
    )

    assert answer.returncode == 1
    assert "No redis here" in answer.stderr
    assert "redis-server" in answer.stderr


PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$*" in
  *ensurepip*) [ -e "$NOTES" ] ;;
  *"print("*) echo 3.11 ;;
  *"-m venv"*) echo "venv" >> "$NOTES" ;;
esac
"""


@pytest.fixture
def bare_system(clone: Clone, tmp_path: Path) -> Path:
    """A PATH whose Python has no venv until apt-get, which takes notes, has installed something."""
    shutil.rmtree(clone.folder / ".venv")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "mkdir", "tail"):
        (programs / name).symlink_to(shutil.which(name) or name)
    pretended = {"python3.11": PYTHON_WITHOUT_VENV, "apt-get": '#!/bin/sh\necho "apt-get $*" >> "$NOTES"\n'}
    for name, text in pretended.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return programs


def pretend_user(programs: Path, number: int) -> None:
    (programs / "id").write_text(f"#!/bin/sh\necho {number}\n")
    (programs / "id").chmod(0o755)


def test_root_gets_the_missing_venv_installed(clone: Clone, bare_system: Path) -> None:
    pretend_user(bare_system, 0)

    clone.bash("source scripts/bootstrap.sh; make_venv", {"PATH": str(bare_system), "NOTES": str(clone.notes)})

    assert clone.installs[-2].endswith("install -y --no-install-recommends python3.11-venv")
    assert clone.installs[-1] == "venv"


def test_others_are_told_the_one_command_that_installs_venv(clone: Clone, bare_system: Path) -> None:
    pretend_user(bare_system, 1000)

    answer = clone.bash("source scripts/bootstrap.sh; make_venv", {"PATH": str(bare_system), "NOTES": str(clone.notes)})

    assert answer.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y python3.11-venv" in answer.stderr
    assert clone.installs == []


def put_node(programs: Path, *, version: str | None = None) -> None:
    """This machine's node and npm, or a node that believes to be of another version."""
    real = shutil.which("node")
    assert real, "there is no node on this machine; ./scripts/test installs it"
    pretending = f"-r {programs / 'version.js'}" if version else ""
    (programs / "version.js").write_text(f"Object.defineProperty(process.versions, 'node', {{value: '{version}'}})")
    for name, text in {"node": f'exec {real} {pretending} "$@"', "npm": ""}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)


def test_root_gets_the_missing_node_installed(clone: Clone, bare_system: Path) -> None:
    pretend_user(bare_system, 0)

    clone.bash("source scripts/bootstrap.sh; require_node", {"PATH": str(bare_system), "NOTES": str(clone.notes)})

    assert clone.installs[-1].endswith("install -y --no-install-recommends nodejs npm")


def test_a_node_that_is_too_old_is_told(clone: Clone, bare_system: Path) -> None:
    pretend_user(bare_system, 1000)
    put_node(bare_system, version="16.20.2")

    answer = clone.bash("source scripts/bootstrap.sh; require_node", {"PATH": str(bare_system)})

    assert answer.returncode == 1
    assert "The tests need Node 18 or newer with npm" in answer.stderr
    assert "sudo apt-get update && sudo apt-get install -y nodejs npm" in answer.stderr


def test_a_fitting_node_is_left_as_it_is(clone: Clone, bare_system: Path) -> None:
    put_node(bare_system)

    answer = clone.bash(
        "source scripts/bootstrap.sh; require_node", {"PATH": str(bare_system), "NOTES": str(clone.notes)}
    )

    assert answer.returncode == 0, answer.stderr
    assert clone.installs == []
