"""What an operator sees of a service of real processes: metrics, health, logs and `posegen top`."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from posegen.tables import GeneratedPicture, UserEvent, WorkerRow
from posegen.workforce import drawing_of

if TYPE_CHECKING:
    from .conftest import Operated

pytestmark = pytest.mark.timeout(300)
APP = "/api/apps/pose-generator"


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def total(operated: "Operated", name: str, **labels: str) -> float:
    """Add a counter up over all processes, as Prometheus does."""
    return sum(
        value
        for text in (operated.api_metrics, *operated.worker_metrics.values())
        for found, its, value in samples(text)
        if found == name and labels.items() <= its.items()
    )


def lines(log: str) -> list[dict[str, Any]]:
    """Every line of a log; each is JSON."""
    return [json.loads(line) for line in log.splitlines()]


def drawn_by_device(operated: "Operated", generation_id: str) -> Counter[str]:
    with operated.service.database.reading() as session:
        rows = session.execute(
            select(WorkerRow.device)
            .join(GeneratedPicture, GeneratedPicture.worker == WorkerRow.name)
            .where(GeneratedPicture.generation_id == generation_id)
        )
        return Counter(row[0] for row in rows)


def test_the_counters_of_all_processes_add_up_to_what_is_in_sql(operated: "Operated") -> None:
    items = operated.service.house.items()
    states = Counter(item.status for item in items)
    assert (states["completed"] >= 24, states["failed"], states["cancelled"] > 0) == (True, 1, True)
    for state, pictures in states.items():
        assert total(operated, "posegen_pictures_total", state=state) == pictures
    assert total(operated, "posegen_orders_total", kind="order") == 3
    assert total(operated, "posegen_pictures_ordered_total", profile="tiny") == len(items) == 49
    assert total(operated, "posegen_claims_total") == sum(item.attempt for item in items)
    refunded = states["failed"] + states["cancelled"]
    assert total(operated, "posegen_refunds_total") == refunded
    assert total(operated, "posegen_credits_refunded_total") == 30 * refunded
    assert total(operated, "posegen_credits_charged_total") == 30 * len(items)
    with operated.service.database.reading() as session:
        events = Counter(session.scalars(select(UserEvent.type)))
    for kind, count in events.items():
        assert total(operated, "posegen_events_total", type=kind) == count
    assert total(operated, "posegen_picture_denoise_seconds_count") >= states["completed"]
    steps = sum(item.steps for item in items if item.status == "completed")
    assert total(operated, "posegen_engine_steps_total", skipped="false") >= steps


def test_requests_are_counted_by_route_template(operated: "Operated") -> None:
    requests = Counter[tuple[str, str, str]]()
    for name, labels, value in samples(operated.api_metrics):
        if name == "posegen_http_requests_total":
            requests[labels["method"], labels["route"], labels["status"]] += int(value)
    assert requests["POST", f"{APP}/generate", "202"] == 3
    assert requests["POST", f"{APP}/generate", "400"] == 1
    assert requests["POST", f"{APP}/generations/{{generation_id}}/cancel", "200"] == 1
    assert requests["POST", "/api/auth/login", "401"] == 1
    assert requests["GET", "/metrics", "401"] == 1
    assert {route for _, route, _ in requests if re.search(r"[0-9a-f]{8}-", route)} == set()


def test_the_queue_and_the_workers_are_told_as_sql_has_them(operated: "Operated") -> None:
    gauges = {(name, labels.get("device", "")): value for name, labels, value in samples(operated.api_metrics)}
    assert (gauges["posegen_database_up", ""], gauges["posegen_redis_up", ""]) == (1, 1)
    assert gauges["posegen_queue_photos", ""] == 0
    for device in ("fake:0.15:troubled", "fake:0.02:troubled"):
        assert gauges["posegen_worker_rows_most", device] == 2
        assert gauges["posegen_worker_steps_per_second", device] > 0
        assert gauges["posegen_worker_heartbeat_age_seconds", device] < 15
    assert [value for name, value in gauges.items() if name[0] == "posegen_worker_info"] == [1, 1]


def test_health_knows_how_each_worker_draws(operated: "Operated") -> None:
    fast, slow = sorted(operated.health["workers"], key=lambda worker: worker["device"])
    for worker in (fast, slow):
        assert (worker["profile"], worker["backend"], worker["cache"], worker["maxBatch"]) == ("tiny", "tiny", "off", 2)
        assert {"precision", "attention", "compiled", "busyShare", "memoryBytes", "memoryTotalBytes"} <= set(worker)
    assert fast["stepsPerSecond"] > slow["stepsPerSecond"] > 0


def test_two_workers_of_different_speed_share_one_queue(operated: "Operated") -> None:
    drawn = drawn_by_device(operated, operated.orders["many"])
    assert sum(drawn.values()) == 24
    assert drawn["fake:0.02:troubled"] > drawn["fake:0.15:troubled"] > 0


def test_two_workers_of_one_machine_tell_their_metrics_at_ports_of_their_own(operated: "Operated") -> None:
    ports = [drawing_of(worker).metrics_port for worker in operated.service.house.workers()]
    assert None not in ports
    assert len(set(ports)) == 2


def test_no_log_holds_a_prompt_a_password_or_a_token(operated: "Operated") -> None:
    found = {
        (name, what): line
        for name, log in operated.logs.items()
        for what, secret in operated.secrets.items()
        for line in log.splitlines()
        if secret in line
    }
    assert found == {}
    assert "canary" not in "".join([operated.api_metrics, *operated.worker_metrics.values()])


def test_a_picture_is_followed_through_the_logs_by_the_id_of_the_request_that_ordered_it(operated: "Operated") -> None:
    (order,) = [
        line
        for line in lines(operated.logs["api"])
        if line.get("request_id") == "walk-order-1" and line.get("route") == f"{APP}/generate"
    ]
    assert (order["event"], order["method"], order["status"], order["process"]) == (
        "request.served",
        "POST",
        202,
        "api",
    )
    told = [line for name in ("slow", "fast") for line in lines(operated.logs[name]) if line.get("request_id")]
    ours = [line for line in told if line["request_id"] == "walk-order-1"]
    items = operated.service.house.items(operated.orders["many"])
    for event in ("picture.claimed", "picture.finished"):
        assert {line["item_id"] for line in ours if line["event"] == event} == {item.id for item in items}
    assert {(line["generation_id"], line["process"]) for line in ours} == {(operated.orders["many"], "gpu_worker")}
    (failed,) = [line for line in told if line["event"] == "picture.failed"]
    assert failed["generation_id"] == operated.orders["bad"]
    assert re.fullmatch(r"[0-9a-f-]{36}", failed["request_id"]), "an id that is not fit for a log is replaced"


def test_top_shows_the_workers_while_the_api_is_down(operated: "Operated") -> None:
    command = [sys.executable, "-m", "posegen", "top"]
    env = {**os.environ, **operated.service._env, "COLUMNS": "160"}
    told = json.loads(subprocess.check_output([*command, "--json"], env=env, cwd=operated.service.folder, timeout=60))
    frame = subprocess.check_output([*command, "--once"], env=env, cwd=operated.service.folder, timeout=60, text=True)

    assert {(worker["device"], worker["alive"]) for worker in told["workers"]} == {
        ("fake:0.15:troubled", True), ("fake:0.02:troubled", True)
    }  # fmt: skip
    assert told["redisUp"] is True
    assert "fake:0.02:troubled" in frame
    assert "Nothing waits." in frame
