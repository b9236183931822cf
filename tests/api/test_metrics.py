"""Who may read what an API process tells Prometheus, and that it tells it whatever is away."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from support.house import House
from support.serving import Served, serving, settings_for

from api.errors import Forbidden
from api.metrics import check_reader
from gpu_worker import metrics as of_workers
from posegen.exit_codes import ExitCode

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def gauges(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_without_a_token_this_machine_may_read(sqlite_served: Served, sqlite_house: House) -> None:
    sqlite_house.order("ann", 4)
    sqlite_house.worker(heard=datetime.now(UTC))

    answer = sqlite_served.client().get("/metrics")

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = gauges(answer.text)
    assert (told["posegen_queue_pictures"], told["posegen_worker_info"], told["posegen_redis_up"]) == (4, 1, 1)


@pytest.mark.parametrize("host", ["192.168.1.7", "2001:db8::1", "testclient", None])
def test_without_a_token_no_other_machine_may_read(tmp_path: Path, host: str | None) -> None:
    settings = settings_for("sqlite://", tmp_path)
    request = Request({"type": "http", "headers": [], "client": None if host is None else (host, 5000)})

    with pytest.raises(Forbidden):
        check_reader(settings, request)


@pytest.mark.parametrize(("given", "status"), [("Bearer open sesame", 200), ("Bearer open", 401), (None, 401)])
def test_with_a_token_whoever_sends_it_may_read(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path, given: str | None, status: int
) -> None:
    settings = settings_for(sqlite_url, tmp_path, redis_url=redis_url, metrics_token="open sesame")
    with serving(settings) as served:
        headers = {} if given is None else {"Authorization": given}
        assert served.client(**headers).get("/metrics").status_code == status


def test_what_is_away_is_told_and_is_no_error(tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    with serving(settings_for(nowhere, tmp_path)) as served:
        answer = served.client().get("/metrics")

    assert answer.status_code == 200
    told = gauges(answer.text)
    assert (told["posegen_database_up"], told["posegen_redis_up"]) == (0, 0)
    assert "posegen_queue_pictures" not in told


def test_the_documents_table_is_what_is_told_and_every_name_is_a_good_one(
    sqlite_served: Served, sqlite_house: House
) -> None:
    """In this process the counters of workers stand beside those of the API."""
    assert of_workers.STEPS is not None
    sqlite_house.order("ann", 4)
    sqlite_house.worker(heard=datetime.now(UTC))
    told = {}
    for family in text_string_to_metric_families(sqlite_served.client().get("/metrics").text):
        if family.name.startswith("posegen_"):
            told[f"{family.name}_total" if family.type == "counter" else family.name] = family.documentation

    assert sorted(re.findall(r"^\| `(posegen_\w+)`", OPERATIONS, re.MULTILINE)) == sorted(told)
    assert all(told.values())
    assert [name for name in told if re.search(r"_(s|ms|mb|gib|percent|share)$", name)] == []


def test_the_documents_exit_codes_are_all_there_are() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", OPERATIONS, re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(int(code), code.name) for code in ExitCode]
