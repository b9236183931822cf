"""How the service says it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.house import House
from support.servers import PostgresServer
from support.serving import ROOT, Served, serving, settings_for

from models.profiles import TINY
from posegen.private_redis import PrivateRedis
from posegen.statuses import WorkerStatus

HEALTH = f"{ROOT}/health"


def test_with_database_redis_and_a_worker_it_is_healthy(served: Served, house: House) -> None:
    house.worker(heard=datetime.now(UTC))

    answer = served.client().get(HEALTH)

    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["app"]) == ("healthy", "pose-generator")
    assert told["timestamp"].endswith("Z")
    assert set(told["checks"]) == {"database", "redis", "queue", "controlNet"}
    assert told["checks"]["queue"] == {
        "status": "healthy",
        "counts": {"waiting": 0, "active": 0, "completed": 0, "failed": 0, "delayed": 0},
    }
    (worker,) = told["workers"]
    assert (worker["name"], worker["device"], worker["profile"], worker["status"]) == ("w1", "cpu", "tiny", "ready")
    assert worker["model"] == TINY.title


@pytest.mark.parametrize(
    ("profile", "told"), [("mannequin", "draws mannequins at 128 px"), ("of-a-newer-version", None)]
)
def test_what_draws_is_told_in_words(
    sqlite_served: Served, sqlite_house: House, profile: str, told: str | None
) -> None:
    sqlite_house.worker(heard=datetime.now(UTC), profile=profile)

    (worker,) = sqlite_served.client().get(HEALTH).json()["workers"]

    assert worker["model"] is None if told is None else told in worker["model"]


def test_a_monitor_may_ask_for_the_status_alone(sqlite_served: Served) -> None:
    answer = sqlite_served.client().head(HEALTH)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "worker",
    [
        None,
        {"heard_s_ago": 60},
        {"status": WorkerStatus.STARTING},
        {"status": WorkerStatus.DRAINING},
        {"status": WorkerStatus.STOPPED},
    ],
    ids=["none", "silent", "starting", "draining", "stopped"],
)
def test_without_a_worker_that_draws_it_is_degraded_and_still_200(
    sqlite_served: Served, sqlite_house: House, worker: dict[str, Any] | None
) -> None:
    if worker is not None:
        heard = datetime.now(UTC) - timedelta(seconds=worker.get("heard_s_ago", 0))
        sqlite_house.worker(heard=heard, status=worker.get("status", WorkerStatus.READY))

    answer = sqlite_served.client().get(HEALTH)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["controlNet"]["status"] == "degraded"


@pytest.mark.parametrize("redis_is_there", [True, False])
def test_pictures_that_no_worker_draws_are_told_and_make_it_degraded(
    sqlite_served: Served, sqlite_house: House, redis_server: PrivateRedis, redis_is_there: bool
) -> None:
    sqlite_house.order("ann", 2)
    sqlite_house.worker(heard=datetime.now(UTC), profile="flux1-dev")
    if not redis_is_there:
        redis_server.stop()

    told = sqlite_served.client().get(HEALTH).json()

    assert told["status"] == "degraded"
    queue = told["checks"]["queue"]
    assert queue["status"] == ("degraded" if redis_is_there else "unhealthy")
    assert queue["withoutWorker"] == {"tiny": 2}
    assert "tiny" in queue["message"]


def hosted(state: str, *, poses: bool = True) -> dict[str, Any]:
    told = {"backend": "hf-endpoint", "state": state, "reason": "HTTP 401", "until": None, "remedy": "Check the token."}
    return {"followsPoses": poses, "hosted": told}


@pytest.mark.parametrize(
    ("state", "is_well"),
    [
        ("untried", True),
        ("ready", True),
        ("waking", True),
        ("busy", True),
        ("away", False),
        ("exhausted", False),
        ("unauthorised", False),
    ],
)
def test_the_state_of_a_hosted_endpoint_is_told_and_counts(
    sqlite_served: Served, sqlite_house: House, state: str, is_well: bool
) -> None:
    sqlite_house.worker(heard=datetime.now(UTC), capabilities=hosted(state))

    told = sqlite_served.client().get(HEALTH).json()

    assert (told["workers"][0]["hosted"]["state"], told["workers"][0]["followsPoses"]) == (state, True)
    assert told["status"] == ("healthy" if is_well else "degraded")
    if not is_well:
        message = f"The hosted endpoint is {state} (HTTP 401). Check the token."
        assert told["checks"]["controlNet"]["message"] == message


def test_pictures_that_need_a_pose_wait_visibly_while_only_words_are_drawn(
    sqlite_served: Served, sqlite_house: House
) -> None:
    sqlite_house.order("ann", 2)
    sqlite_house.order("ann", 3, allow_poseless=True)
    sqlite_house.worker(heard=datetime.now(UTC), capabilities=hosted("ready", poses=False))

    told = sqlite_served.client().get(HEALTH).json()

    assert (told["status"], told["checks"]["queue"]["withoutWorker"]) == ("degraded", {"tiny": 2})


def test_pictures_that_wait_for_a_worker_that_draws_them_are_no_trouble(
    sqlite_served: Served, sqlite_house: House
) -> None:
    sqlite_house.order("ann", 2)
    sqlite_house.worker(heard=datetime.now(UTC))

    told = sqlite_served.client().get(HEALTH).json()

    assert (told["status"], told["checks"]["queue"]["status"]) == ("healthy", "healthy")


def test_without_redis_it_is_degraded(sqlite_served: Served, sqlite_house: House, redis_server: PrivateRedis) -> None:
    sqlite_house.worker(heard=datetime.now(UTC))
    redis_server.stop()

    answer = sqlite_served.client().get(HEALTH)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["redis"]["status"] == "unhealthy"


def test_without_a_database_it_is_unhealthy_and_503(
    postgres_url: str, postgres_server: PostgresServer, redis_url: str, tmp_path: Path
) -> None:
    with serving(settings_for(postgres_url, tmp_path, redis_url=redis_url)) as served:
        postgres_server.stop()

        answer = served.client().get(HEALTH)

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["checks"]["redis"]["status"] == "healthy"


def test_the_page_at_the_root_names_the_service_and_where_to_read_on(sqlite_served: Served) -> None:
    answer = sqlite_served.client().get("/")

    assert answer.status_code == 200
    assert "Posegen" in answer.text
    assert 'href="/docs"' in answer.text
    assert sqlite_served.client().get("/openapi.json").json()["info"]["title"] == "Posegen"
