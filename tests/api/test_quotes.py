"""Quotes: what an order would cost and how long it would take, with nothing placed."""

from typing import Any

import httpx2
import pytest
from support.house import House
from support.serving import ROOT

from posegen.database import database_now
from posegen.tables import Generation, LedgerEntry, WorkItem

GENERATE = f"{ROOT}/generate"
QUOTE = f"{GENERATE}/quote"


def body(house: House, **more: Any) -> dict[str, Any]:
    return {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:2],
        "batchSize": 3,
        **more,
    }


def measured(house: House, pictures_per_s: float) -> None:
    with house.database.reading() as session:
        now = database_now(session)
    house.worker(heard=now, pictures_per_s=pictures_per_s)


def test_a_quote_tells_price_and_time_and_places_nothing(ann: httpx2.Client, house: House) -> None:
    measured(house, 0.5)

    answer = ann.post(QUOTE, json=body(house))

    assert answer.status_code == 200
    assert answer.json() == {
        "totalPoses": 6,
        "creditCost": 180,
        "quotaUse": 0,
        "queueWaitS": 0.0,
        "drawingS": 12.0,
    }
    assert house.balance("ann") == 1000
    assert house.count(Generation) == house.count(WorkItem) == 0
    assert house.count(LedgerEntry) == 1


def test_before_anything_was_measured_a_quote_tells_no_time(ann: httpx2.Client, house: House) -> None:
    told = ann.post(QUOTE, json=body(house)).json()

    assert (told["queueWaitS"], told["drawingS"]) == (None, None)


def test_a_subscriber_is_quoted_quota_and_no_credits(ann: httpx2.Client, house: House) -> None:
    house.subscribe("ann")

    told = ann.post(QUOTE, json=body(house)).json()

    assert (told["creditCost"], told["quotaUse"]) == (0, 6)


def test_a_quote_of_more_than_the_balance_is_told(ann: httpx2.Client, house: House) -> None:
    asked = body(house, selectedPoseIds=house.pose_ids, batchSize=6)
    ann.post(GENERATE, json=asked)

    told = ann.post(QUOTE, json=asked).json()

    assert (told["creditCost"], house.balance("ann")) == (720, 280)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 99, "seed": -1},
        {"width": 130},
        {"batchSize": 7},
        {"selectedPoseIds": ["nowhere"]},
        {"projectId": "nowhere"},
        {"textPrompt": "a nude on the beach"},
        {"selectedPoseIds": ["same", "same"]},
    ],
)
def test_a_quote_is_refused_as_the_order_would_be(
    sqlite_ann: httpx2.Client, sqlite_house: House, wrong: dict[str, Any]
) -> None:
    asked = body(sqlite_house, **wrong)

    quoted, ordered = sqlite_ann.post(QUOTE, json=asked), sqlite_ann.post(GENERATE, json=asked)

    assert quoted.status_code in (400, 404)
    assert (quoted.status_code, quoted.json()) == (ordered.status_code, ordered.json())


def test_the_status_tells_the_place_in_the_line_and_both_times(ann: httpx2.Client, house: House) -> None:
    measured(house, 0.5)
    quote = ann.post(QUOTE, json=body(house)).json()
    placed = ann.post(GENERATE, json=body(house)).json()

    progress = ann.get(f"{ROOT}/generations/{placed['generationId']}").json()["progress"]

    assert placed["estimatedCompletionTime"] == progress["estimatedTimeRemaining"] == 12
    assert (progress["queuePosition"], progress["queueWaitS"], progress["drawingS"]) == (
        1,
        quote["queueWaitS"],
        quote["drawingS"],
    )
