"""A worker that draws at an endpoint: what its customers get and pay, whatever the endpoint answers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from support.hosting import Answer, Endpoint, draws, endpoint, paints, says
from support.house import NOW, later
from support.waiting import wait_until

from gpu_worker.engine_choice import LoadedEngine, open_engine
from gpu_worker.errors import CannotStart
from gpu_worker.finisher import MOST_BROKEN_CALLS
from gpu_worker.hosting import DrawingCapability
from gpu_worker.process import Options
from models.errors import EndpointAway
from models.hosted.backends import EndpointBackend, ServerlessBackend
from models.hosted.engine import HostedEngine
from models.hosted.faults import Patience
from models.profiles import TINY
from models.requests import PictureRequest, Returned
from posegen.bell import Bell
from posegen.database import Database
from posegen.settings import Settings
from posegen.statuses import GenerationStatus, ItemStatus

from .conftest import Bench, bench_around

HURRY = Patience(
    gather_s=0.02,
    first_pause_s=0.01,
    most_pause_s=0.02,
    waking_pause_s=0.02,
    most_retry_after_s=0.2,
    exhausted_s=0.3,
    open_s=0.3,
    most_open_s=0.3,
)


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as server:
        yield server


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """SQLite only: what both databases do with a claim is tested at the domain."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def hosted(database: Database, bell: Bell, tmp_path: Path, served: Endpoint) -> Iterator[Bench]:
    """A bench that draws at `served`."""
    engine = HostedEngine(
        TINY, EndpointBackend(served.url, "hf_x", profile="tiny", patience=HURRY), calls_at_once=2, patience=HURRY
    )
    with bench_around(engine, database, bell, tmp_path) as made:
        yield made
    engine.close()


def test_an_order_is_drawn_at_the_endpoint_and_delivered_as_its_picture(hosted: Bench) -> None:
    placed = hosted.house.order("ann", 6)
    hosted.thread.start()

    hosted.hands.draw_everything()

    pictures = hosted.house.pictures(placed.generation_id)
    assert [picture.backend for picture in pictures] == ["hf-endpoint"] * 6
    assert hosted.house.generation(placed.generation_id).status == GenerationStatus.COMPLETED
    assert (hosted.meter.pictures_per_s() or 0) > 0
    hosted.house.assert_books_balance()


@pytest.mark.parametrize("answer", [says(422), draws(black=True)], ids=["refused", "black"])
def test_what_the_endpoint_cannot_draw_fails_and_its_credits_come_back(
    hosted: Bench, served: Endpoint, answer: Answer
) -> None:
    served.then = answer
    before = hosted.house.balance("ann")
    placed = hosted.house.order("ann", 2)
    hosted.thread.start()

    hosted.hands.draw_everything()

    assert hosted.house.balance("ann") == before
    assert hosted.house.generation(placed.generation_id).status == GenerationStatus.FAILED
    hosted.house.assert_books_balance()


@pytest.mark.parametrize("status", [401, 402, 404, 500, 503])
def test_while_the_endpoint_draws_nothing_pictures_wait_in_the_queue_and_the_burst_ends(
    hosted: Bench, served: Endpoint, status: int
) -> None:
    served.then = says(status)
    hosted.engine._patience = hosted.engine._line._patience = Patience(  # type: ignore[attr-defined]
        picture_s=1.0, gather_s=0.02, first_pause_s=0.01, most_pause_s=60, waking_pause_s=60, open_s=60
    )
    placed = hosted.house.order("ann", 4)
    hosted.thread.start()

    hosted.hands.draw_everything()

    assert {item.status for item in hosted.house.items(placed.generation_id)} == {ItemStatus.QUEUED}
    assert hosted.house.generation(placed.generation_id).status == GenerationStatus.PROCESSING
    hosted.house.assert_books_balance()


def test_when_the_endpoint_is_back_what_waited_is_drawn(hosted: Bench, served: Endpoint) -> None:
    served.script.extend([says(500)] * 8)
    placed = hosted.house.order("ann", 4)
    hosted.thread.start()
    hosted.hands.draw_everything()

    wait_until(
        lambda: (
            hosted.hands.draw_everything()
            or hosted.house.generation(placed.generation_id).status == GenerationStatus.COMPLETED
        ),
        timeout_s=30,
    )

    assert hosted.house.generation(placed.generation_id).poses_completed == 4
    hosted.house.assert_books_balance()


@pytest.mark.parametrize(("suspect", "ends"), [(False, ItemStatus.QUEUED), (True, ItemStatus.FAILED)])
def test_a_picture_that_breaks_the_endpoint_again_and_again_is_given_up_and_others_never(
    hosted: Bench, suspect: bool, ends: ItemStatus
) -> None:
    before = hosted.house.balance("ann")
    placed = hosted.house.order("ann", 1)
    for turn in range(MOST_BROKEN_CALLS):
        (claim,) = hosted.house.claim(1, now=later(turn))
        key = hosted.desk.take(claim)
        hosted.finisher.take(Returned(key=key, error=EndpointAway("HTTP 500"), suspect=suspect))
        wait_until(lambda: not hosted.desk.held(), timeout_s=30)

    (item,) = hosted.house.items(placed.generation_id)
    assert item.status == ends
    assert hosted.house.balance("ann") == (before if suspect else before - 30)
    hosted.house.assert_books_balance()


def test_a_worker_without_poses_draws_what_allows_it_and_leaves_the_rest(
    database: Database, bell: Bell, tmp_path: Path
) -> None:
    with endpoint(paints()) as server:
        engine = HostedEngine(TINY, ServerlessBackend("hf_x", url=server.url, patience=HURRY), patience=HURRY)
        with bench_around(engine, database, bell, tmp_path, follows_poses=False) as bench:
            posed = bench.house.order("ann", 2)
            allowed = bench.house.order("bob", 2, allow_poseless=True)
            bench.thread.start()
            bench.hands.draw_everything()

            pictures = bench.house.pictures(allowed.generation_id)
            assert [(one.backend, one.pose_applied) for one in pictures] == [("hf-serverless", False)] * 2
            assert {item.status for item in bench.house.items(posed.generation_id)} == {ItemStatus.QUEUED}
            assert len(server.seen) == 2
            bench.house.assert_books_balance()
        engine.close()


def settings(tmp_path: Path, **given: str) -> Settings:
    return Settings(_env_file=None, jwt_secret="s" * 40, var_dir=tmp_path, **given)  # type: ignore[call-arg, arg-type]


ENDPOINT = {"hf_endpoint_url": "https://x.endpoints.huggingface.cloud"}
KEY = {"huggingface_api_key": "hf_x"}


@pytest.mark.parametrize(
    ("device", "given", "drawn_by"),
    [
        ("auto", ENDPOINT, "hf-endpoint"),
        ("auto", {**ENDPOINT, **KEY, "hosted_without_pose": "allow"}, "hf-endpoint"),
        ("auto", {**KEY, "hosted_without_pose": "allow"}, "hf-serverless"),
        ("hosted", ENDPOINT, "hf-endpoint"),
        ("hosted", KEY, "hf-serverless"),
    ],
)
def test_what_draws_is_chosen_by_what_is_set(tmp_path: Path, device: str, given: dict[str, str], drawn_by: str) -> None:
    loaded = open_engine(Options(device=device), settings(tmp_path, worker_concurrency="3", **given))

    assert loaded.hosted is not None
    assert (loaded.device, loaded.device_name, loaded.engine.profile.name) == ("hosted", drawn_by, "flux1-dev")
    assert loaded.follows_poses is (drawn_by == "hf-endpoint")
    assert loaded.engine.max_batch == (12 if drawn_by == "hf-endpoint" else 3)
    loaded.engine.close()


@pytest.mark.parametrize("given", [{}, KEY, {"hosted_without_pose": "allow"}, {"hf_token": "hf_x"}])
def test_by_itself_a_worker_draws_on_its_cpu_unless_the_loss_of_poses_is_allowed(
    tmp_path: Path, given: dict[str, str]
) -> None:
    assert not settings(tmp_path, **given).may_be_hosted


@pytest.mark.parametrize("given", [{}, {"hf_token": "hf_x"}])
def test_asked_for_an_endpoint_without_one_it_says_what_to_set(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(CannotStart, match="HF_ENDPOINT_URL"):
        open_engine(Options(device="hosted"), settings(tmp_path, **given))


def test_a_hosted_worker_imports_no_torch(tmp_path: Path) -> None:
    probe = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'diffusers', 'transformers'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import gpu_worker.__main__\n"
        "from gpu_worker.engine_choice import open_engine\n"
        "from gpu_worker.process import Options\n"
        "from posegen.settings import Settings\n"
        "print(open_engine(Options(device='hosted'), Settings()).device_name)\n"
    )
    environment = {
        **os.environ,
        "JWT_SECRET": "s" * 40,
        "VAR_DIR": str(tmp_path),
        "HF_ENDPOINT_URL": "http://127.0.0.1:9/",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )

    assert (done.stdout.strip(), done.returncode) == ("hf-endpoint", 0), done.stderr


def test_the_workers_row_and_its_log_say_how_the_endpoint_is(served: Endpoint) -> None:
    served.then = says(403)
    engine = HostedEngine(
        TINY, EndpointBackend(served.url, "hf_secret", profile="tiny", patience=HURRY), patience=HURRY
    )
    loaded = LoadedEngine(engine=engine, device="hosted", device_name="hf-endpoint", hosted=engine)
    capability = DrawingCapability()
    with structlog.testing.capture_logs() as logs:
        said = capability.of(loaded, now=NOW)
        assert said["followsPoses"] is True
        told: dict[str, Any] = said["hosted"]
        assert (told["state"], told["until"], told["remedy"]) == ("untried", None, None)
        engine.submit(_asked())
        wait_until(lambda: bool(engine.step().outcomes), timeout_s=20)
        for _ in range(2):
            told = capability.of(loaded, now=NOW)["hosted"]

    assert (told["state"], told["reason"], told["until"]) == ("unauthorised", "HTTP 403", None)
    assert "HF_ENDPOINT_TOKEN" in told["remedy"]
    assert [(line["event"], line["state"]) for line in logs] == [("hosted.state", "unauthorised")]
    assert "hf_secret" not in str(logs)
    engine.close()


def _asked() -> PictureRequest:
    return PictureRequest(
        key="a",
        prompt="a person",
        control=None,
        width=128,
        height=128,
        seed=1,
        steps=2,
        guidance=3.5,
        control_scale=0.9,
        control_end=0.9,
    )
