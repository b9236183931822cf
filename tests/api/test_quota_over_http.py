"""The unlimited tier as a client meets it."""

import httpx2
from support.house import House
from support.serving import ROOT

GENERATE = f"{ROOT}/generate"


def body(house: House, variations: int) -> dict[str, object]:
    return {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:1],
        "batchSize": variations,
    }


def test_a_subscribers_order_costs_nothing_and_over_the_quota_it_is_403(ann: httpx2.Client, house: House) -> None:
    house.subscribe("ann", a_day=3)

    taken = ann.post(GENERATE, json=body(house, 2))
    refused = ann.post(GENERATE, json=body(house, 2))

    assert (taken.status_code, taken.json()["creditCharged"]) == (202, 0)
    assert taken.json()["message"] == "2 pictures ordered from today's quota."
    told = refused.json()
    assert (refused.status_code, told["code"]) == (403, "quota_exceeded")
    assert (told["required"], told["remaining"], told["dailyQuota"]) == (2, 1, 3)
    assert told["resetAt"].endswith("T00:00:00.000Z")
    assert house.balance("ann") == 1000
    house.assert_books_balance(beside_api=True)
