"""The JavaScript of docs/frontend.md, run as it stands there: by Node, against the real service."""

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from support.processes import RealProcess
from support.waiting import wait_until

from .conftest import PASSWORD

if TYPE_CHECKING:
    from .conftest import Customer, Service

DOCUMENT = (Path(__file__).parents[2] / "docs" / "frontend.md").read_text(encoding="utf-8")
CODE = DOCUMENT.split("```js\n", 1)[1].split("```", 1)[0]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document's code in a folder with the package that the document names."""
    folder = tmp_path_factory.mktemp("frontend")
    package = re.search(r"`npm install (socket\.io-client@\d+\.\d+\.\d+)`", DOCUMENT)
    assert package, "docs/frontend.md names no exact version of socket.io-client"
    npm = shutil.which("npm")
    assert npm, "there is no npm on this machine; ./scripts/test installs it"
    quiet = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline")
    installed = subprocess.run(
        [npm, "install", *quiet, "--prefix", folder, package[1]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert installed.returncode == 0, f"npm could not install {package[1]}; is its registry there?\n{installed.stderr}"
    file = folder / "order.mjs"
    file.write_text(CODE, encoding="utf-8")
    return file


def run(script: Path, customer: "Customer", folder: Path) -> RealProcess:
    login = {"POSEGEN_URL": customer.url, "POSEGEN_EMAIL": customer.email, "POSEGEN_PASSWORD": PASSWORD}
    return RealProcess(["node", script], log_file=folder / f"{customer.id}.txt", env=login, cwd=script.parent)


def test_it_is_at_most_sixty_lines() -> None:
    assert len(CODE.splitlines()) <= 60


def test_it_orders_follows_over_a_restart_of_the_api_and_shows_the_pictures(
    sqlite_service: "Service", script: Path, tmp_path: Path
) -> None:
    api = sqlite_service.start_api()
    worker = sqlite_service.start_worker("one", "--device", "fake:0.06", "--max-batch", "1")
    worker.wait_for_log("worker.ready", timeout_s=60)
    ann = sqlite_service.customer("ann", credits=1000)

    with run(script, ann, tmp_path) as node:
        node.wait_for_log("pose_completed", timeout_s=60)
        api.send(signal.SIGKILL)
        api.wait()
        wait_until(lambda: sqlite_service.house.events(ann.id)[-1].event_id > 5, timeout_s=60, message="more events")
        sqlite_service.start_api()
        assert node.wait(timeout_s=90) == 0, node.log

    told = [line.split() for line in node.log.splitlines() if line.startswith("#")]
    assert [number for number, _ in told] == [f"#{number}" for number in range(1, 11)], node.log
    assert [type_ for _, type_ in told] == ["started", *["pose_completed", "progress"] * 4, "completed"]
    links = re.findall(r"^completed (http\S+)$", node.log, re.MULTILINE)
    assert [urlopen(link, timeout=20).headers["Content-Type"] for link in links] == ["image/png"] * 4
    assert node.log.splitlines()[-1] == "completed: 4 of 4 pictures"
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000 - 4 * 30


def test_it_shows_why_an_order_is_refused_and_ends(sqlite_service: "Service", script: Path, tmp_path: Path) -> None:
    sqlite_service.start_api()
    sqlite_service.start_worker("one", "--device", "fake").wait_for_log("worker.ready", timeout_s=60)
    poor = sqlite_service.customer("poor", credits=30)

    with run(script, poor, tmp_path) as node:
        assert node.wait(timeout_s=60) == 0, node.log

    assert node.log.strip() == "not_enough_credits: This order costs 120 credits and your balance is 30."
