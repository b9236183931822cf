"""A repeated order after the API was started anew: answered as the first was, to the byte, and charged once."""

from pathlib import Path

from support.house import House
from support.serving import ROOT, serving, settings_for

GENERATE = f"{ROOT}/generate"


def test_a_repeat_after_a_restart_gets_the_same_bytes_and_costs_nothing(
    house: House, database_url: str, tmp_path: Path
) -> None:
    asked = {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:2],
        "batchSize": 2,
    }
    settings = settings_for(database_url, tmp_path)
    with serving(settings) as before:
        first = before.client("ann").post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})

    with serving(settings) as after:
        again = after.client("ann").post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})

    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert house.balance("ann") == 880
    house.assert_books_balance()
