"""Favourites, credits, numbers, wishes and the dashboard, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from support.house import NOW, House, all_at_once
from support.serving import ROOT, Served

from posegen.tables import LibraryPose, PoseCategory, PoseRequest, User

REQUESTS = f"{ROOT}/requests"
WISH = {"poseName": "Back flip", "description": "In the air, seen from the side"}


def drawn_order(house: House, pictures: int = 3, *, failing: int = 0, now: datetime = NOW) -> str:
    """An order that was drawn, but for so many pictures that failed."""
    placed = house.order("ann", pictures, now=now)
    today = datetime.now(UTC)  # whatever the order's age, or the healing API would take the pictures back
    for number, claim in enumerate(house.claim(pictures, now=today)):
        (house.fail if number < failing else house.deliver)(claim, now=today)
    return placed.generation_id


def favorites_of(house: House, pose_id: str | None) -> int:
    with house.database.reading() as session:
        return session.get_one(LibraryPose, pose_id).favorite_count


def test_a_picture_is_a_favourite_once_however_often_it_is_said(ann: httpx2.Client, house: House) -> None:
    picture = house.pictures(drawn_order(house, 1))[0]
    path = f"{ROOT}/poses/{picture.id}/favorite"

    said = all_at_once([lambda: ann.put(path, json={"isFavorite": True})] * 4)

    assert [answer.status_code for answer in said] == [200] * 4  # type: ignore[union-attr]
    told = ann.put(path, json={"isFavorite": True}).json()
    assert (told["success"], told["poseId"], told["isFavorite"], told["pose"]["isFavorite"]) == (
        True, picture.id, True, True,
    )  # fmt: skip
    assert favorites_of(house, picture.pose_library_id) == 1
    assert ann.put(path, json={"isFavorite": False}).json()["isFavorite"] is False
    assert ann.put(path, json={"isFavorite": False}).status_code == 200
    assert favorites_of(house, picture.pose_library_id) == 0


def test_only_ones_own_pictures_are_favourites(sqlite_served: Served, sqlite_house: House) -> None:
    sqlite_house.customer("bob")
    picture = sqlite_house.pictures(drawn_order(sqlite_house, 1))[0]
    bob = sqlite_served.client("bob")

    for picture_id in (picture.id, "nothing"):
        assert bob.put(f"{ROOT}/poses/{picture_id}/favorite", json={"isFavorite": True}).status_code == 404
    assert favorites_of(sqlite_house, picture.pose_library_id) == 0


@pytest.mark.parametrize("body", [{}, {"isFavorite": None}, {"isFavorite": "yes"}, {"isFavorite": 1}])
def test_a_favourite_is_true_or_false(sqlite_ann: httpx2.Client, body: dict[str, Any]) -> None:
    answer = sqlite_ann.put(f"{ROOT}/poses/x/favorite", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "isFavorite")


def test_credits_are_told_with_the_quota(sqlite_ann: httpx2.Client, sqlite_house: House) -> None:
    told = sqlite_ann.get(f"{ROOT}/credits").json()

    assert told["balance"] == 1000
    assert told["unlimited"].pop("resetAt") > datetime.now(UTC).isoformat()
    assert told["unlimited"] == {"active": False, "dailyQuota": 100, "used": 0, "remaining": 0, "expiresAt": None}

    today = datetime.now(UTC)
    with sqlite_house.database.writing() as session:
        user = session.get_one(User, "ann")
        user.unlimited_until, user.quota_day, user.quota_used = today + timedelta(days=3), today.date(), 40
    unlimited = sqlite_ann.get(f"{ROOT}/credits").json()["unlimited"]
    assert (unlimited["active"], unlimited["used"], unlimited["remaining"]) == (True, 40, 60)


def test_numbers_are_of_the_caller_alone_and_spending_is_less_refunds(served: Served, house: House) -> None:
    now = datetime.now(UTC)
    house.customer("bob")
    drawn_order(house, 3, now=now - timedelta(days=40))
    drawn_order(house, 4, failing=1, now=now - timedelta(days=1))

    told = served.client("ann").get(f"{ROOT}/stats").json()

    assert (told["totalPosesGenerated"], told["totalProjects"], told["recentGenerations"]) == (6, 1, 1)
    assert told["creditUsage"] == {"totalSpent": 180, "last30Days": 90, "averagePerGeneration": 90.0}
    assert told["topUsedPoses"] == [
        {"poseId": house.pose_ids[0], "poseName": "Pose 0", "usageCount": 6, "previewUrl": None}
    ]
    dashboard = served.client("ann").get("/api/stats/dashboard").json()
    assert dashboard == {"totalSpending": 180, "totalWorks": 6, "totalProjects": 1, "lastLogin": None}
    nothing = served.client("bob").get(f"{ROOT}/stats").json()
    assert nothing["creditUsage"] == {"totalSpent": 0, "last30Days": 0, "averagePerGeneration": 0.0}
    assert (nothing["topUsedPoses"], nothing["totalPosesGenerated"]) == ([], 0)


def test_generations_are_told_as_tiles(served: Served, house: House) -> None:
    first = drawn_order(house, 2, failing=1, now=NOW)
    second = house.order("ann", 1, now=NOW + timedelta(seconds=1)).generation_id
    ann = served.client("ann")

    newest, oldest = (ann.get(f"/api/generations?sort={sort}").json()["generations"] for sort in ("newest", "oldest"))

    assert [one["id"] for one in newest] == [second, first]
    assert oldest == newest[::-1]
    tile = oldest[0]
    assert (tile["appId"], tile["projectName"], tile["status"]) == ("pose-generator", "ann's", "completed")
    assert (len(tile["outputPaths"]), tile["fileCount"]) == (1, 1)
    assert tile["thumbnailUrl"].endswith(".webp")
    assert (newest[0]["outputPaths"], newest[0]["thumbnailUrl"], newest[0]["fileCount"]) == ([], None, 0)
    assert ann.get("/api/generations/recent?limit=1").json()["generations"] == newest[:1]
    house.customer("bob")
    assert served.client("bob").get("/api/generations").json() == {"generations": []}


def test_the_apps_are_listed_in_order(sqlite_ann: httpx2.Client) -> None:
    apps = sqlite_ann.get("/api/apps").json()["apps"]

    assert [one["appId"] for one in apps] == ["avatar-creator", "pose-generator"]
    assert {frozenset(one) for one in apps} == {
        frozenset({"appId", "name", "description", "icon", "color", "order", "beta", "comingSoon"})
    }


def test_a_missing_pose_is_asked_for_and_listed(served: Served, house: House) -> None:
    ann = served.client("ann")
    wish = {**WISH, "categoryId": "standing", "useCase": "sport", "referenceImageUrl": "https://x.example/a.png"}

    created = ann.post(REQUESTS, json=wish)

    assert created.status_code == 201
    request = created.json()["request"]
    assert created.json()["message"]
    assert (request["poseName"], request["status"], request["votesCount"]) == ("Back flip", "pending", 1)
    assert (request["adminNotes"], request["completedPoseId"]) == (None, None)
    with house.database.reading() as session:
        assert session.get_one(PoseCategory, request["categoryId"]).slug == "standing"
    told = ann.get(REQUESTS).json()
    assert told == {
        "requests": [request],
        "pagination": {"page": 1, "limit": 20, "total": 1, "totalPages": 1, "hasMore": False},
    }
    assert ann.get(f"{REQUESTS}?status=approved").json()["requests"] == []
    house.customer("bob")
    assert served.client("bob").get(REQUESTS).json()["requests"] == []
    assert served.client("bob").post(REQUESTS, json=WISH).status_code == 201


def test_a_pose_is_asked_for_once_while_the_wish_is_open(served: Served, house: House) -> None:
    ann = served.client("ann")

    outcomes = all_at_once([lambda: ann.post(REQUESTS, json=WISH)] * 4)

    assert sorted(answer.status_code for answer in outcomes) == [201, 400, 400, 400]  # type: ignore[union-attr]
    again = ann.post(REQUESTS, json={**WISH, "poseName": "  BACK   flip "})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (400, "poseName")
    with house.database.writing() as session:
        session.query(PoseRequest).one().status = "rejected"
    assert ann.post(REQUESTS, json=WISH).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "status", "field"),
    [
        ({"poseName": "ab"}, 400, "poseName"),
        ({"poseName": "x" * 101}, 400, "poseName"),
        ({"poseName": None}, 400, "poseName"),
        ({"description": "too short"}, 400, "description"),
        ({"description": "x" * 1001}, 400, "description"),
        ({"useCase": "x" * 201}, 400, "useCase"),
        ({"referenceImageUrl": "javascript:alert(1)"}, 400, "referenceImageUrl"),
        ({"categoryId": "nothing"}, 404, None),
    ],
)
def test_a_bad_wish_is_refused_and_not_kept(
    sqlite_ann: httpx2.Client, sqlite_house: House, wrong: dict[str, Any], status: int, field: str | None
) -> None:
    answer = sqlite_ann.post(REQUESTS, json={**WISH, **wrong})

    assert answer.status_code == status
    assert [one["field"] for one in answer.json().get("errors", [])] == ([field] if field else [])
    assert sqlite_house.count(PoseRequest) == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{ROOT}/poses/x/favorite"), ("GET", f"{ROOT}/credits"), ("GET", f"{ROOT}/stats"),
        ("GET", REQUESTS), ("POST", REQUESTS), ("GET", "/api/apps"), ("GET", "/api/generations"),
        ("GET", "/api/generations/recent"), ("GET", "/api/stats/dashboard"), ("GET", "/api/credits/history"),
        ("PUT", "/api/auth/profile"), ("PUT", f"{ROOT}/projects/x"), ("DELETE", f"{ROOT}/projects/x"),
    ],
)  # fmt: skip
def test_all_of_it_wants_a_login(sqlite_served: Served, method: str, path: str) -> None:
    assert sqlite_served.client().request(method, path).status_code == 401
