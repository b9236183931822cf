"""A repeated order: answered as the first was, to the byte, charged once, whatever happened in between."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from support.house import NOW, House, all_at_once
from support.serving import ROOT, serving, settings_for

from posegen.bell import Bell
from posegen.retention import forget_generation

GENERATE = f"{ROOT}/generate"
TWINS = 6


def order_of(house: House) -> dict[str, Any]:
    return {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:2],
        "batchSize": 2,
    }


def send(client: httpx2.Client, key: str, asked: dict[str, Any]) -> httpx2.Response:
    return client.post(GENERATE, json=asked, headers={"Idempotency-Key": key})


def test_a_repeat_after_a_restart_gets_the_same_bytes_and_costs_nothing(
    house: House, database_url: str, tmp_path: Path
) -> None:
    asked = order_of(house)
    settings = settings_for(database_url, tmp_path)
    with serving(settings) as before:
        first = send(before.client("ann"), "k", asked)

    with serving(settings) as after:
        again = send(after.client("ann"), "k", asked)

    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert house.balance("ann") == 880
    house.assert_books_balance(beside_api=True)


def test_a_repeat_is_no_new_order_for_the_rates(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    asked = order_of(sqlite_house)
    with serving(settings_for(sqlite_url, tmp_path, generate_rate="2/minute")) as served:
        ann = served.client("ann")
        first = send(ann, "k", asked)
        again = [send(ann, "k", asked) for _ in range(3)]
        second = send(ann, "l", asked)
        third = send(ann, "m", asked)
        late = send(ann, "k", asked)
        other = send(ann, "k", {**asked, "batchSize": 3})

    assert [(one.status_code, one.content) for one in [*again, late]] == [(202, first.content)] * 4
    assert (second.status_code, third.status_code, other.status_code) == (202, 429, 422)
    assert "ratelimit" in first.headers
    assert "ratelimit" not in late.headers
    assert sqlite_house.balance("ann") == 760


def test_a_repeat_rings_for_nobody(sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    asked, bell = order_of(sqlite_house), Bell(redis_url)
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url)) as served:
        ann = served.client("ann")
        answers = [send(ann, "k", asked) for _ in range(3)]
    rung = bell.waiting()
    bell.close()

    assert [answer.status_code for answer in answers] == [202] * 3
    assert rung == 1  # no worker is alive that the healing could ring for


def test_twins_at_once_are_one_order_for_the_rates_too(house: House, database_url: str, tmp_path: Path) -> None:
    asked = order_of(house)
    with serving(settings_for(database_url, tmp_path, generate_rate="1/minute")) as served:
        twins = [partial(send, served.client("ann"), "k", asked) for _ in range(TWINS)]
        answers = all_at_once(twins)

    told = [(one.status_code, one.content) for one in answers if isinstance(one, httpx2.Response)]
    assert [status for status, _ in told] == [202] * TWINS
    assert len(set(told)) == 1
    assert house.balance("ann") == 880


def test_a_refused_order_leaves_its_key_free(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    asked = order_of(sqlite_house)
    with serving(settings_for(sqlite_url, tmp_path, generate_rate="1/minute")) as served:
        refused = [send(served.client("ann"), key, asked).status_code for key in ("k", "l")]
    with serving(settings_for(sqlite_url, tmp_path)) as served:
        again = send(served.client("ann"), "l", {**asked, "batchSize": 1})

    assert refused == [202, 429]
    assert again.status_code == 202


def test_a_repeated_retry_is_answered_when_what_it_repeated_is_forgotten(
    sqlite_house: House, sqlite_url: str, tmp_path: Path
) -> None:
    failed = sqlite_house.order("ann", 2).generation_id
    for claim in sqlite_house.claim(2):
        sqlite_house.fail(claim)
    retry = f"{ROOT}/generations/{failed}/retry"
    with serving(settings_for(sqlite_url, tmp_path, generate_rate="1/minute")) as served:
        ann = served.client("ann", **{"Idempotency-Key": "k"})
        first = ann.post(retry)
        with sqlite_house.database.writing() as session:
            assert forget_generation(session, failed, before=NOW + timedelta(days=1)) is not None
        again = ann.post(retry)

    assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
    assert sqlite_house.balance("ann") == 940
