"""The scripted customer: the whole way through a real service, and how it tells of a promise that was not kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from customer import PromiseBroken, Transcript, shown
from customer_walk import main
from PIL import Image

from posegen.ports import free_port

if TYPE_CHECKING:
    from .conftest import Service

SCRIPT = Path(__file__).parents[2] / "scripts" / "customer_walk.py"
SMALLEST = ("--variations", "2", "--size", "128x128", "--steps", "4")

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def sqlite_service(tmp_path: Path, sqlite_url: str, redis_url: str) -> Iterator["Service"]:
    """A service on SQLite: the customer sees nothing of the database."""
    from .conftest import Service

    made = Service(tmp_path, sqlite_url, redis_url)
    yield made
    made.close()


def test_a_customer_walks_from_signing_up_to_the_gallery_in_all_modes(sqlite_service: "Service") -> None:
    sqlite_service.start_api()
    worker = sqlite_service.start_worker("one", "--device", "cpu", "--profile", "tiny")
    worker.wait_for_log("worker.ready", timeout_s=120)

    walk = sqlite_service.start_client("walk", SCRIPT, "--folder", "sheet", *SMALLEST)

    assert walk.wait(timeout_s=240) == 0, walk.log + worker.log
    assert "kept: over all connections no event was missed and none told twice" in walk.log
    assert "Every promise was kept. 7 pictures" in walk.log
    with Image.open(sqlite_service.folder / "sheet" / "customer-walk.png") as sheet:
        assert sheet.width > 4 * 256
    assert "eyJ" not in walk.log  # no token
    sqlite_service.house.assert_books_balance()


def test_a_service_that_is_not_there_is_a_broken_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"http://127.0.0.1:{free_port()}"]) == 1

    assert "BROKEN: " in capsys.readouterr().out


def test_the_first_broken_promise_is_named_with_what_was_seen() -> None:
    said: list[str] = []
    transcript = Transcript(said.append)

    transcript.promise("water is wet", True)
    with pytest.raises(PromiseBroken, match=r"the sky is blue \(seen: grey\)"):
        transcript.promise("the sky is blue", False, "grey")

    assert [line.split("kept: ")[1] for line in said] == ["water is wet"]


def test_the_transcript_cuts_out_what_opens_a_picture() -> None:
    assert (
        shown("/api/apps/pose-generator/files/SECRET.part/a.png?x=SECRET") == "/api/apps/pose-generator/files/.../a.png"
    )
