"""The one command: from an empty folder to four pictures and back to silence, with the real processes."""

import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.processes import RealProcess, nothing_left_behind

from posegen.ports import free_port

SERVE = Path(__file__).parents[2] / "scripts" / "serve.py"
FIRST_ORDER_WITHIN_S = 240.0

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("start")]  # one folder for all, so one process


def start(folder: Path, *arguments: str, log: str = "start") -> RealProcess:
    """Run the start in `folder`, with no setting but a free port, on the CPU."""
    return RealProcess(
        [sys.executable, SERVE, *arguments],
        log_file=folder / f"{log}.out",
        cwd=folder,
        env={"CUDA_VISIBLE_DEVICES": "", "PORT": str(free_port()), "OMP_NUM_THREADS": "2"},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the start ran once, to its end."""
    folder = tmp_path_factory.mktemp("home")
    with nothing_left_behind(), start(folder, "--once") as process:
        exit_code = process.wait(timeout_s=FIRST_ORDER_WITHIN_S)
        assert exit_code == 0, process.log
    return folder


def test_the_first_order_leaves_four_pictures_and_a_contact_sheet(home: Path) -> None:
    files = sorted(file.name for file in (home / "var" / "first-order").iterdir())

    assert files[-1] == "contact-sheet.png"
    assert [name[:2] for name in files[:-1]] == ["1-", "2-", "3-", "4-"]


def test_the_first_order_is_followed_over_socket_io(home: Path) -> None:
    said = (home / "start.out").read_text()

    assert "Ordered" in said
    assert "Live updates are not available" not in said


def test_the_pictures_are_pictures_of_something(home: Path) -> None:
    for file in (home / "var" / "first-order").glob("[1-4]-*.png"):
        with Image.open(file) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=picture.width * picture.height)
        assert colours is not None
        assert len(colours) > 1000


def test_secrets_are_for_the_owner_only(home: Path) -> None:
    secrets = [home / ".env", home / "var" / "demo-login.json", home / "var" / "demo-token"]

    assert [file.stat().st_mode & 0o077 for file in secrets] == [0, 0, 0]


def test_a_second_start_uses_what_is_there_and_ctrl_c_ends_it_all(home: Path) -> None:
    before = _kept(home)
    with nothing_left_behind(), start(home, "--no-order", log="second") as process:
        process.wait_for_log("Ctrl-C stops everything", timeout_s=120)
        process.send(signal.SIGINT)
        exit_code = process.wait(timeout_s=120)

    assert exit_code == 0, process.log
    assert "killed" not in process.log
    assert _kept(home) == before


def test_a_killed_start_leaves_no_process_behind(home: Path) -> None:
    with nothing_left_behind(), start(home, "--no-order", log="killed") as process:
        process.wait_for_log("Demo user", timeout_s=120)
        process.kill()


def test_a_second_service_in_the_same_folder_is_refused_by_name(home: Path) -> None:
    with start(home, "--no-order", log="first") as first:
        first.wait_for_log("Demo user", timeout_s=120)
        with start(home, "--no-order", log="refused") as second:
            exit_code = second.wait(timeout_s=30)
        first.terminate(timeout_s=120)

    assert exit_code == 1
    assert f"already runs with {home / 'var'} (process {first.pid})" in second.log


def test_a_worker_that_is_killed_is_started_again(home: Path) -> None:
    with nothing_left_behind(), start(home, "--no-order", log="healed") as process:
        process.wait_for_log("Ctrl-C stops everything", timeout_s=120)
        for worker in _children_named(process, "gpu_worker"):
            os.kill(worker, signal.SIGKILL)
        process.wait_for_log("worker-cpu was started again", timeout_s=30)
        process.terminate(timeout_s=120)


def test_a_refused_setting_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=short\n")
    with nothing_left_behind(), start(tmp_path, "--once") as process:
        exit_code = process.wait(timeout_s=30)

    assert exit_code == 1
    assert "JWT_SECRET" in process.log
    assert "What to do" in process.log


def test_an_address_that_this_machine_does_not_have_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"JWT_SECRET={'x' * 40}\nHOST=203.0.113.1\n")  # of a documentation network
    with nothing_left_behind(), start(tmp_path, "--once") as process:
        exit_code = process.wait(timeout_s=120)

    assert exit_code == 1
    assert "Check that HOST is an address of this machine" in process.log


def test_it_needs_no_home_and_writes_only_into_its_folder(home: Path) -> None:
    assert sorted(file.name for file in home.iterdir() if not file.name.endswith(".out")) == [".env", "var"]


def _kept(home: Path) -> list[str]:
    return [(home / name).read_text() for name in (".env", "var/demo-login.json", "var/demo-token", "var/redis/port")]


def _children_named(process: RealProcess, word: str) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process.pid).children() if word in " ".join(child.cmdline())]
