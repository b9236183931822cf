"""Following, reading and cancelling an order; the worker is played by the domain's own calls."""

from datetime import UTC, datetime
from typing import Any

import httpx2
from support.house import House
from support.serving import ROOT, Served

GENERATION = {
    "id", "projectId", "userId", "generationType", "textPrompt", "generatedPoseStructure", "avatarId",
    "avatarAttributes", "batchSize", "totalExpectedPoses", "useBackgroundChanger", "backgroundPrompt",
    "backgroundMode", "exportFormats", "status", "progress", "posesCompleted", "posesFailed", "creditCharged",
    "creditRefunded", "queueJobId", "errorMessage", "createdAt", "startedAt", "completedAt", "avgGenerationTime",
    "totalProcessingTime",
}  # fmt: skip
PICTURE = {
    "id", "generationId", "poseLibraryId", "outputImageUrl", "thumbnailUrl", "originalImageUrl", "exportFormats",
    "backgroundChanged", "backgroundPrompt", "promptUsed", "seedUsed", "controlnetWeight", "generationTime",
    "poseScore", "aiConfidenceScore", "backend", "poseApplied", "identityApplied", "isFavorite", "downloadCount",
    "status", "errorMessage", "createdAt", "variationKey",
}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def order(house: House, user_id: str = "ann", pictures: int = 4) -> str:
    return house.order(user_id, pictures, now=now()).generation_id


def read(client: httpx2.Client, generation_id: str, part: str = "") -> Any:
    answer = client.get(f"{ROOT}/generations/{generation_id}{part}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_generation_is_processing_and_tells_all_its_fields(ann: httpx2.Client, house: House) -> None:
    told = read(ann, order(house))

    generation = told["generation"]
    assert set(generation) >= GENERATION
    assert (generation["status"], generation["progress"], generation["creditCharged"]) == ("processing", 0, 120)
    assert generation["createdAt"].endswith("Z")
    assert generation["startedAt"] is None
    assert told["progress"] == {
        "percentage": 0,
        "posesCompleted": 0,
        "posesFailed": 0,
        "posesTotal": 4,
        "currentStatus": "processing",
        "estimatedTimeRemaining": None,
        "queuePosition": 1,
        "queueWaitS": None,
        "drawingS": None,
    }


def test_the_remaining_time_comes_from_measured_speed(ann: httpx2.Client, house: House) -> None:
    house.worker(heard=now(), pictures_per_s=0.5)

    assert read(ann, order(house))["progress"]["estimatedTimeRemaining"] == 8


def test_progress_and_results_grow_with_each_picture(ann: httpx2.Client, house: House) -> None:
    generation_id = order(house)
    first, second, *_ = house.claim(now=now())
    house.deliver(first, now=now())
    house.fail(second, now=now())

    told, results = read(ann, generation_id), read(ann, generation_id, "/results")

    assert told["progress"]["percentage"] == told["generation"]["progress"] == 50
    assert (told["progress"]["posesCompleted"], told["progress"]["posesFailed"]) == (1, 1)
    assert (told["generation"]["avgGenerationTime"], told["generation"]["creditRefunded"]) == (1.5, 30)
    assert results["generation"] == {
        "id": generation_id,
        "status": "processing",
        "totalPoses": 4,
        "successCount": 1,
        "failedCount": 1,
        "creditCharged": 120,
        "creditRefunded": 30,
    }
    delivered, failed = results["results"]
    assert set(delivered) >= PICTURE
    assert (delivered["status"], delivered["backend"], delivered["poseApplied"]) == ("completed", "tiny", True)
    assert delivered["variationKey"] == first.variation_key
    assert delivered["poseScore"] == delivered["aiConfidenceScore"] == 0.875
    assert failed["poseScore"] is failed["aiConfidenceScore"] is None
    assert delivered["outputImageUrl"].startswith(f"{ROOT}/files/")
    assert (failed["status"], failed["outputImageUrl"]) == ("failed", None)
    assert failed["errorMessage"] == "It could not be drawn."


def test_a_finished_generation_is_completed(ann: httpx2.Client, house: House) -> None:
    generation_id = order(house, pictures=1)
    house.deliver(house.claim(now=now())[0], now=now())

    told = read(ann, generation_id)

    assert (told["generation"]["status"], told["progress"]["estimatedTimeRemaining"]) == ("completed", 0)
    assert told["generation"]["totalProcessingTime"] >= 0
    assert told["generation"]["completedAt"].endswith("Z")


def test_pictures_come_in_pages(sqlite_ann: httpx2.Client, sqlite_house: House) -> None:
    generation_id = order(sqlite_house)
    for claim in sqlite_house.claim(now=now()):
        sqlite_house.deliver(claim, now=now())

    page = read(sqlite_ann, generation_id, "/poses?page=2&limit=3")

    assert len(page["poses"]) == 1
    assert page["pagination"] == {"page": 2, "limit": 3, "total": 4, "totalPages": 2, "hasMore": False}


def test_generations_are_listed_newest_first_with_filters(sqlite_ann: httpx2.Client, sqlite_house: House) -> None:
    first, second = order(sqlite_house), order(sqlite_house)
    sqlite_ann.post(f"{ROOT}/generations/{first}/cancel")

    def ids(query: str) -> list[str]:
        return [row["id"] for row in sqlite_ann.get(f"{ROOT}/generations?{query}").json()["generations"]]

    project_id = sqlite_house.generation(first).project_id
    assert ids("") == [second, first]
    assert ids("status=cancelled") == [first]
    assert ids("limit=1&page=2") == [first]
    assert ids(f"projectId={project_id}") == [second, first]
    assert ids("projectId=elsewhere") == []


def test_a_bad_page_is_400(sqlite_ann: httpx2.Client) -> None:
    for query in ("page=0", "limit=0", "limit=101", "page=x", f"page={10**30}", "status=nonsense"):
        answer = sqlite_ann.get(f"{ROOT}/generations?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, query.split("=")[0])


def test_cancelling_refunds_exactly_what_was_not_delivered(ann: httpx2.Client, house: House) -> None:
    generation_id = order(house)
    first, *_ = house.claim(2, now=now())
    house.deliver(first, now=now())

    answer = ann.post(f"{ROOT}/generations/{generation_id}/cancel")

    assert answer.status_code == 200
    generation = answer.json()["generation"]
    assert (generation["status"], generation["posesCompleted"], generation["creditRefunded"]) == ("cancelled", 1, 90)
    assert house.balance("ann") == 1000 - 30
    assert [row["status"] for row in read(ann, generation_id, "/results")["results"]] == ["completed"]
    house.assert_books_balance(beside_api=True)


def test_cancelling_twice_refunds_once(ann: httpx2.Client, house: House) -> None:
    generation_id = order(house)

    answers = [ann.post(f"{ROOT}/generations/{generation_id}/cancel") for _ in range(2)]

    assert [answer.json()["generation"]["status"] for answer in answers] == ["cancelled", "cancelled"]
    assert house.balance("ann") == 1000
    house.assert_books_balance(beside_api=True)


def test_a_finished_generation_cannot_be_cancelled(ann: httpx2.Client, house: House) -> None:
    generation_id = order(house, pictures=1)
    house.deliver(house.claim(now=now())[0], now=now())

    answer = ann.post(f"{ROOT}/generations/{generation_id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert house.balance("ann") == 970


def test_somebody_elses_generation_does_not_exist(served: Served, house: House) -> None:
    house.customer("bob")
    generation_id = order(house)
    bob = served.client("bob")
    path = f"{ROOT}/generations/{generation_id}"

    answers = [bob.get(path), bob.get(f"{path}/results"), bob.get(f"{path}/poses"), bob.post(f"{path}/cancel")]
    unknown = bob.get(f"{ROOT}/generations/nothing")

    assert [answer.status_code for answer in [*answers, unknown]] == [404] * 5
    assert answers[0].json()["message"] == f"There is no generation {generation_id}."
    assert bob.get(f"{ROOT}/generations").json()["generations"] == []
    assert house.generation(generation_id).status == "processing"
