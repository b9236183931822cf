"""Reading the pose library over HTTP."""

from typing import Any

import httpx2
import pytest
from support.house import NOW, House
from support.serving import ROOT

from posegen.tables import LibraryPose, PoseCategory

POSE = {
    "id", "name", "description", "categoryId", "previewImageUrl", "referenceImageUrl", "controlnetImageUrl",
    "thumbnailUrl", "difficulty", "genderSuitability", "tags", "sourceType", "sourceCredit", "licenseType",
    "usageCount", "favoriteCount", "ratingAvg", "popularityScore", "isPublic", "isFeatured", "isPremium", "createdAt",
    "updatedAt", "category",
}  # fmt: skip
CATEGORY = {
    "id", "name", "displayName", "description", "slug", "parentId", "icon", "displayOrder", "color", "poseCount",
    "isActive", "createdAt", "updatedAt", "children",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _shelves(house: House) -> None:
    """Four poses stand in `standing`; a fifth, featured and advanced, in `leaning` below it."""
    with house.database.writing() as session:
        above = session.query(PoseCategory).one()
        below = PoseCategory(
            slug="leaning", name="leaning", display_name="Leaning", parent_id=above.id, created_at=NOW, updated_at=NOW
        )
        session.add(below)
        session.flush()
        session.add(
            LibraryPose(
                slug="on-a-wall",
                name="On a Wall (100% relaxed)",
                description="leaning on a wall",
                category_id=below.id,
                people={"people": []},
                control_key="library/on-a-wall/map.png",
                difficulty="advanced",
                gender_suitability="female",
                tags=["wall"],
                is_featured=True,
                popularity_score=5.0,
                created_at=NOW,
                updated_at=NOW,
            )
        )


def library(client: httpx2.Client, **query: Any) -> Any:
    answer = client.get(f"{ROOT}/library", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def slugs(client: httpx2.Client, **query: Any) -> set[str]:
    return {pose["slug"] for pose in library(client, **query)["poses"]}


def test_a_pose_tells_all_its_fields(ann: httpx2.Client) -> None:
    told = library(ann)

    assert told["pagination"] == {"page": 1, "limit": 24, "total": 5, "totalPages": 1, "hasMore": False}
    pose = told["poses"][0]
    assert pose["slug"] == "on-a-wall"  # the most popular first
    assert set(pose) >= POSE
    assert set(pose["category"]) >= CATEGORY
    assert pose["controlnetImageUrl"].startswith(f"{ROOT}/files/")
    assert pose["thumbnailUrl"] is None
    assert (pose["tags"], pose["usageCount"]) == (["wall"], 0)


EVERYBODY = {"pose-0", "pose-1", "pose-2", "pose-3"}
WALL = {"on-a-wall"}


def test_filters_find(ann: httpx2.Client) -> None:
    cases: list[tuple[dict[str, str], set[str]]] = [
        ({"category": "standing"}, EVERYBODY | WALL),
        ({"category": "Leaning"}, WALL),
        ({"category": ""}, EVERYBODY | WALL),
        ({"difficulty": "advanced"}, WALL),
        ({"genderSuitability": "male"}, EVERYBODY),
        ({"search": "WALL"}, WALL),
        ({"search": "w"}, EVERYBODY | WALL),
        ({"search": "100%"}, WALL),
        ({"search": "_"}, set()),
        ({"search": ""}, EVERYBODY | WALL),
        ({"featured": "true"}, WALL),
        ({"featured": "false"}, EVERYBODY),
        ({"category": "standing", "search": "number 2"}, {"pose-2"}),
    ]

    told = [(query, slugs(ann, **query)) for query, _found in cases]

    assert told == cases


def test_sorting_and_pages(ann: httpx2.Client) -> None:
    told = library(ann, sort="name", page=2, limit=2)

    assert [pose["name"] for pose in told["poses"]] == ["Pose 1", "Pose 2"]
    assert told["pagination"]["hasMore"] is True


@pytest.mark.parametrize(
    "query", ["sort=best", "difficulty=hard", "genderSuitability=x", "featured=maybe", "limit=101"]
)
def test_an_unknown_filter_value_is_400(ann: httpx2.Client, query: str) -> None:
    answer = ann.get(f"{ROOT}/library?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, query.split("=")[0])


@pytest.mark.parametrize(
    "path",
    [
        "/library?category=&difficulty=&genderSuitability=&search=&featured=&sort=&page=&limit=",
        "/projects?status=&page=1&limit=",
        "/generations?projectId=&status=",
        "/requests?status",
    ],
)
def test_what_a_form_leaves_empty_filters_nothing(ann: httpx2.Client, path: str) -> None:
    bare = path.partition("?")[0]

    answer = ann.get(f"{ROOT}{path}")

    assert (answer.status_code, answer.json()) == (200, ann.get(f"{ROOT}{bare}").json())


def test_a_pose_is_found_by_id_and_by_slug(ann: httpx2.Client, house: House) -> None:
    by_id = ann.get(f"{ROOT}/library/{house.pose_ids[0]}").json()

    assert by_id == ann.get(f"{ROOT}/library/pose-0").json()
    assert by_id["pose"]["id"] == house.pose_ids[0]


def test_an_unknown_pose_or_category_is_404(ann: httpx2.Client) -> None:
    assert ann.get(f"{ROOT}/library/nothing").status_code == 404
    assert ann.get(f"{ROOT}/library?category=nothing").status_code == 404


def test_categories_are_a_tree_whose_counts_include_the_children(ann: httpx2.Client) -> None:
    told = ann.get(f"{ROOT}/categories").json()

    assert told["totalCategories"] == 2
    (above,) = told["categories"]
    (below,) = above["children"]
    assert set(above) >= CATEGORY
    assert (above["slug"], above["poseCount"], below["slug"], below["poseCount"]) == ("standing", 5, "leaning", 1)
    assert (below["parentId"], below["children"]) == (above["id"], [])
