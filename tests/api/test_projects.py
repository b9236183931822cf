"""Projects over HTTP."""

from typing import Any

import httpx2
import pytest
from support.house import House
from support.photos import photo
from support.serving import ROOT, Served

from posegen.tables import Project

PROJECTS = f"{ROOT}/projects"
PROJECT = {
    "id", "userId", "projectName", "description", "avatarImageUrl", "avatarSource", "avatarId", "totalGenerations",
    "totalPosesGenerated", "status", "createdAt", "updatedAt",
}  # fmt: skip
GOOD = {"projectName": "Spring look book", "avatarSource": "UPLOAD"}
AVATARS = "/api/apps/avatar-creator/avatars"
PHOTO = photo(width=512, height=512)


def avatar_of(client: httpx2.Client, **looks: str) -> dict[str, Any]:
    form = {"name": "Mia", "gender": "female", **looks}
    told: dict[str, Any] = client.post(AVATARS, files={"image": ("a.jpg", PHOTO)}, data=form).json()["avatar"]
    return told


def around(avatar: dict[str, Any]) -> dict[str, Any]:
    return {"projectName": "Spring", "avatarSource": "AVATAR_CREATOR", "avatarId": avatar["id"], "avatarImageUrl": "/x"}


def test_a_project_is_created_and_read(ann: httpx2.Client, house: House) -> None:
    wanted = {**GOOD, "description": "For May", "avatarImageUrl": "https://studio.example/a.png", "extra": True}

    created = ann.post(PROJECTS, json=wanted)

    assert created.status_code == 201
    project = created.json()["project"]
    assert set(project) >= PROJECT
    assert (project["projectName"], project["userId"], project["status"]) == ("Spring look book", "ann", "active")
    assert (project["totalGenerations"], project["totalPosesGenerated"]) == (0, 0)
    assert ann.get(f"{PROJECTS}/{project['id']}").json()["project"] == {**project, "generations": []}


def test_a_project_is_told_with_its_newest_generations(ann: httpx2.Client, house: House) -> None:
    first, second = house.order("ann", 1), house.order("ann", 1)
    project_id = house.generation(first.generation_id).project_id

    told = ann.get(f"{PROJECTS}/{project_id}").json()["project"]

    assert [one["id"] for one in told["generations"]] == [second.generation_id, first.generation_id]
    assert told["totalGenerations"] == 2


def test_projects_come_in_pages_newest_first(ann: httpx2.Client) -> None:
    for number in range(3):
        ann.post(PROJECTS, json={**GOOD, "projectName": f"Number {number}"})

    told = ann.get(f"{PROJECTS}?limit=2").json()

    assert [one["projectName"] for one in told["projects"]] == ["Number 2", "Number 1"]
    assert told["pagination"] == {"page": 1, "limit": 2, "total": 3, "totalPages": 2, "hasMore": True}
    assert ann.get(f"{PROJECTS}?status=archived").json()["projects"] == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"projectName": "ab"}, "projectName"),
        ({"projectName": "   a  "}, "projectName"),
        ({"projectName": "x" * 101}, "projectName"),
        ({"projectName": None}, "projectName"),
        ({"projectName": "a\0bc"}, "projectName"),
        ({"description": "x" * 501}, "description"),
        ({"avatarSource": "CAMERA"}, "avatarSource"),
        ({"avatarImageUrl": "javascript:alert(1)"}, "avatarImageUrl"),
        ({"avatarImageUrl": "//evil.example/x.png"}, "avatarImageUrl"),
        ({"avatarImageUrl": "https://x.example/" + "a" * 2000}, "avatarImageUrl"),
        ({"avatarSource": "AVATAR_CREATOR"}, "avatarId"),
        ({"avatarSource": "AVATAR_CREATOR", "avatarId": ""}, "avatarId"),
        ({"avatarSource": "AVATAR_CREATOR", "avatarId": 7}, "avatarId"),
    ],
)
def test_a_bad_project_is_400_and_not_kept(ann: httpx2.Client, house: House, wrong: dict[str, Any], field: str) -> None:
    answer = ann.post(PROJECTS, json={**GOOD, **wrong})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert house.count(Project) == 0


def test_somebody_elses_project_does_not_exist(served: Served, house: House) -> None:
    house.customer("bob")
    project_id = house.project("ann")
    bob = served.client("bob")

    assert bob.get(f"{PROJECTS}/{project_id}").status_code == 404
    assert bob.get(f"{PROJECTS}/nothing").status_code == 404
    assert bob.get(PROJECTS).json()["projects"] == []


def test_a_project_around_an_avatar_shows_its_photo_of_today(ann: httpx2.Client) -> None:
    avatar = avatar_of(ann)

    project = ann.post(PROJECTS, json=around(avatar)).json()["project"]

    assert (project["avatarSource"], project["avatarId"]) == ("AVATAR_CREATOR", avatar["id"])
    assert project["avatarImageUrl"] == avatar["baseImageUrl"]
    changed = ann.put(f"{AVATARS}/{avatar['id']}/image", files={"image": ("b.jpg", PHOTO)}).json()["avatar"]
    shown = {
        ann.get(f"{PROJECTS}/{project['id']}").json()["project"]["avatarImageUrl"],
        ann.get(PROJECTS).json()["projects"][0]["avatarImageUrl"],
        ann.put(f"{PROJECTS}/{project['id']}", json={}).json()["project"]["avatarImageUrl"],
    }
    assert shown == {changed["baseImageUrl"]} != {avatar["baseImageUrl"]}


def test_a_project_goes_on_showing_a_deleted_avatar_until_it_is_deleted_itself(sqlite_served: Served) -> None:
    ann = sqlite_served.client("ann")
    avatar = avatar_of(ann)
    path = f"{PROJECTS}/{ann.post(PROJECTS, json=around(avatar)).json()['project']['id']}"
    ann.delete(f"{AVATARS}/{avatar['id']}")

    assert ann.get(ann.get(path).json()["project"]["avatarImageUrl"]).status_code == 200
    assert ann.delete(path).json()["success"] is True
    assert ann.get(avatar["baseImageUrl"]).status_code == 404
    assert [file for file in sqlite_served.settings.storage_dir.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("field", ["baseImageUrl", "thumbnailUrl"])
def test_a_link_of_ours_that_comes_back_is_understood_as_its_avatar(sqlite_served: Served, field: str) -> None:
    ann = sqlite_served.client("ann")
    avatar = avatar_of(ann)

    for address in (avatar[field], f"https://pictures.example{avatar[field]}"):
        project = ann.post(PROJECTS, json={**GOOD, "avatarImageUrl": address}).json()["project"]
        assert project["avatarId"] == avatar["id"]


def test_a_broken_link_of_ours_is_kept_as_it_came(sqlite_served: Served) -> None:
    address = f"{ROOT}/files/nonsense/a.jpg"

    project = sqlite_served.client("ann").post(PROJECTS, json={**GOOD, "avatarImageUrl": address}).json()["project"]

    assert (project["avatarImageUrl"], project["avatarId"]) == (address, None)


@pytest.mark.parametrize("source", ["AVATAR_CREATOR", "UPLOAD"])
def test_somebody_elses_avatar_makes_no_project(sqlite_served: Served, sqlite_house: House, source: str) -> None:
    sqlite_house.customer("bob")
    avatar = avatar_of(sqlite_served.client("ann"))

    answer = sqlite_served.client("bob").post(PROJECTS, json={**around(avatar), "avatarSource": source})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert sqlite_house.count(Project) == 0


def test_a_project_is_renamed_described_and_archived(ann: httpx2.Client) -> None:
    path = f"{PROJECTS}/{ann.post(PROJECTS, json={**GOOD, 'description': 'For May'}).json()['project']['id']}"

    renamed = ann.put(path, json={"projectName": "  Summer ", "userId": "bob", "totalGenerations": 9}).json()["project"]
    archived = ann.put(path, json={"status": "archived", "description": ""}).json()["project"]

    assert (renamed["projectName"], renamed["description"], renamed["status"]) == ("Summer", "For May", "active")
    assert (renamed["userId"], renamed["totalGenerations"]) == ("ann", 0)
    assert (archived["projectName"], archived["description"], archived["status"]) == ("Summer", None, "archived")
    assert [one["id"] for one in ann.get(f"{PROJECTS}?status=archived").json()["projects"]] == [archived["id"]]
    assert ann.get(f"{PROJECTS}?status=active").json()["projects"] == []


def test_nothing_is_ordered_in_an_archived_project_until_it_is_reopened(
    sqlite_served: Served, sqlite_house: House
) -> None:
    ann, project_id = sqlite_served.client("ann"), sqlite_house.project("ann")
    asked = {"projectId": project_id, "generationType": "GALLERY_REFERENCE", "selectedPoseIds": sqlite_house.pose_ids}
    ann.put(f"{PROJECTS}/{project_id}", json={"status": "archived"})

    refused = [ann.post(f"{ROOT}/generate{call}", json=asked) for call in ("", "/quote")]

    assert [(one.status_code, one.json()["code"]) for one in refused] == [(409, "conflict")] * 2
    assert sqlite_house.balance("ann") == 1000
    ann.put(f"{PROJECTS}/{project_id}", json={"status": "active"})
    assert ann.post(f"{ROOT}/generate", json=asked).status_code == 202


def test_an_order_for_an_avatar_alone_reopens_its_default_project(sqlite_served: Served, sqlite_house: House) -> None:
    ann = sqlite_served.client("ann")
    asked = {"avatarId": avatar_of(ann)["id"], "selectedPoseIds": sqlite_house.pose_ids[:1]}
    first = ann.get(ann.post(f"{ROOT}/generate", json=asked).headers["location"]).json()["generation"]
    path = f"{PROJECTS}/{first['projectId']}"
    ann.put(path, json={"status": "archived"})

    assert ann.post(f"{ROOT}/generate", json=asked).status_code == 202

    told = ann.get(path).json()["project"]
    assert (told["status"], told["totalGenerations"]) == ("active", 2)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"projectName": "ab"}, "projectName"),
        ({"description": "x" * 501}, "description"),
        ({"status": "deleted"}, "status"),
        ({"status": 1}, "status"),
    ],
)
def test_a_bad_change_is_400_and_changes_nothing(sqlite_served: Served, wrong: dict[str, Any], field: str) -> None:
    ann = sqlite_served.client("ann")
    project = ann.post(PROJECTS, json=GOOD).json()["project"]

    answer = ann.put(f"{PROJECTS}/{project['id']}", json={"projectName": "Summer", **wrong})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert ann.get(f"{PROJECTS}/{project['id']}").json()["project"] == {**project, "generations": []}


def test_a_project_is_deleted_when_nothing_of_it_is_to_be_drawn(ann: httpx2.Client, house: House) -> None:
    generation_id = house.order("ann", 1).generation_id
    path = f"{PROJECTS}/{house.generation(generation_id).project_id}"

    refused = ann.delete(path)
    ann.post(f"{ROOT}/generations/{generation_id}/cancel")
    deleted = ann.delete(path)

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (deleted.status_code, set(deleted.json())) == (200, {"success", "message"})
    assert ann.get(path).status_code == ann.put(path, json={}).status_code == ann.delete(path).status_code == 404
    assert ann.get(f"{ROOT}/generations/{generation_id}").status_code == 200


def test_somebody_elses_project_is_neither_changed_nor_deleted(sqlite_served: Served, sqlite_house: House) -> None:
    sqlite_house.customer("bob")
    path = f"{PROJECTS}/{sqlite_house.project('ann')}"
    bob = sqlite_served.client("bob")

    assert bob.put(path, json={"projectName": "Mine"}).status_code == bob.delete(path).status_code == 404
    assert sqlite_served.client("ann").get(path).json()["project"]["projectName"] == "ann's"


def test_an_avatar_and_poses_are_enough_for_an_order(ann: httpx2.Client, house: House) -> None:
    avatar = avatar_of(ann, style="noir")
    asked = {"avatarId": avatar["id"], "selectedPoseIds": house.pose_ids[:1]}

    answers = [ann.post(f"{ROOT}/generate", json=asked) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    generations = [ann.get(answer.headers["location"]).json()["generation"] for answer in answers]
    assert {one["avatarId"] for one in generations} == {avatar["id"]}
    assert generations[0]["avatarAttributes"] == {"gender": "female", "style": "noir"}
    project = ann.get(f"{PROJECTS}/{generations[0]['projectId']}").json()["project"]
    assert generations[1]["projectId"] == project["id"]
    assert (project["projectName"], project["avatarId"], project["totalGenerations"]) == (
        "Pictures of Mia",
        avatar["id"],
        2,
    )
    item = house.items(generations[0]["id"])[0]
    assert item.prompt.startswith("noir style, female person, Pose 0")


def test_an_order_with_an_unknown_avatar_is_404_and_free(sqlite_served: Served, sqlite_house: House) -> None:
    ann = sqlite_served.client("ann")
    asked = {"avatarId": "nobody", "selectedPoseIds": sqlite_house.pose_ids[:1]}

    for place in ({}, {"projectId": sqlite_house.project("ann")}):
        answer = ann.post(f"{ROOT}/generate", json={**asked, **place})
        assert (answer.status_code, answer.json()["message"]) == (404, "There is no avatar nobody.")
    assert sqlite_house.balance("ann") == 1000
