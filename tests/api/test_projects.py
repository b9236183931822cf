"""Projects over HTTP."""

from typing import Any

import httpx2
import pytest
from support.house import House
from support.serving import ROOT, Served

from posegen.tables import Project

PROJECTS = f"{ROOT}/projects"
PROJECT = {
    "id", "userId", "projectName", "description", "avatarImageUrl", "avatarSource", "avatarId", "totalGenerations",
    "totalPosesGenerated", "status", "createdAt", "updatedAt",
}  # fmt: skip
GOOD = {"projectName": "Spring look book", "avatarSource": "UPLOAD"}


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
        ({"avatarSource": "AVATAR_CREATOR", "avatarId": "x"}, "avatarSource"),
        ({"avatarId": "x"}, "avatarId"),
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
