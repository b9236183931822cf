"""The pose library in the database: seeded from the shipped files, searched, filtered, sorted, in categories."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from support.house import NOW, House, later

from posegen.database import Database
from posegen.errors import BadInput, NotFound
from posegen.library import LibraryQuery, category_tree, list_poses, pose_by_id, seed_library
from posegen.paging import Page
from posegen.poses.library_files import AuthoredCategory, LibraryFiles, read_library
from posegen.storage import Storage
from posegen.tables import LibraryPose, PoseCategory, StoredObject

EVERYTHING = Page(number=1, limit=100)


def shelf(slug: str, order: int, parent: str | None = None) -> AuthoredCategory:
    return AuthoredCategory(
        slug=slug,
        name=slug,
        display_name=f"{slug.title()} poses",
        description=f"Poses of {slug}",
        icon="figure",
        color="#112233",
        display_order=order,
        parent=parent,
    )


@pytest.fixture(scope="session")
def files() -> LibraryFiles:
    """Four shipped poses on three shelves: resting stands in floor, which is named after it, floor and air beside."""
    shipped = read_library().poses[:4]
    shelves = (shelf("resting", 1, "floor"), shelf("floor", 2), shelf("air", 3))
    placed = ("air", "resting", "resting", "floor")
    changes = [
        {"name": "Zed", "difficulty": "beginner", "gender_suitability": "male", "featured": True},
        {
            "name": "alpha 100%",
            "difficulty": "advanced",
            "gender_suitability": "female",
            "featured": False,
            "tags": ("city", "plaid skirt"),
        },
        {"name": "Beta_x", "difficulty": "advanced", "gender_suitability": "unisex", "featured": False},
        {"name": "Gamma", "difficulty": "beginner", "gender_suitability": "unisex", "featured": False},
    ]
    poses = tuple(
        replace(pose, slug=f"p{number}", category=category, description="a description of it", **change)  # type: ignore[arg-type]
        for number, (pose, category, change) in enumerate(zip(shipped, placed, changes, strict=True))
    )
    return LibraryFiles(categories=shelves, poses=poses)


@pytest.fixture
def stocked(database: Database, files: LibraryFiles, tmp_path: Path) -> Database:
    """A database seeded with those."""
    with database.writing() as session:
        assert seed_library(session, Storage(tmp_path / "storage"), files, now=NOW) == 4
    return database


def found(database: Database, **query: object) -> list[str]:
    with database.reading() as session:
        return [pose.slug for pose in list_poses(session, LibraryQuery(**query), EVERYTHING).rows]  # type: ignore[arg-type]


def test_seeding_writes_poses_with_their_pictures(stocked: Database, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    with stocked.reading() as session:
        poses = session.scalars(select(LibraryPose)).all()
        objects = {row.key: row for row in session.scalars(select(StoredObject))}

    for pose in poses:
        assert len(pose.people["people"][0]["pose_keypoints_2d"]) == 54
        for key in (pose.control_key, pose.preview_key, pose.thumbnail_key):
            assert key is not None
            content = storage.get(key)
            assert content.startswith(b"\x89PNG")
            assert (objects[key].content_type, objects[key].size_bytes) == ("image/png", len(content))


def test_seeding_twice_changes_nothing(stocked: Database, files: LibraryFiles, tmp_path: Path) -> None:
    with stocked.writing() as session:
        assert seed_library(session, Storage(tmp_path / "storage"), files, now=later(60)) == 0

    with stocked.reading() as session:
        for table in (LibraryPose, PoseCategory):
            assert {row.updated_at for row in session.scalars(select(table))} == {NOW}


def test_a_changed_file_changes_its_pose_and_no_other(stocked: Database, files: LibraryFiles, tmp_path: Path) -> None:
    changed = replace(files, poses=(replace(files.poses[0], name="Zed the second"), *files.poses[1:]))

    with stocked.writing() as session:
        assert seed_library(session, Storage(tmp_path / "storage"), changed, now=later(60)) == 1

    with stocked.reading() as session:
        poses = {pose.slug: (pose.name, pose.updated_at) for pose in session.scalars(select(LibraryPose))}
    assert poses["p0"] == ("Zed the second", later(60))
    assert {changed_at for name, changed_at in poses.values() if name != "Zed the second"} == {NOW}


def test_seeding_keeps_what_the_house_counted(stocked: Database, files: LibraryFiles, tmp_path: Path) -> None:
    with stocked.writing() as session:
        session.execute(update(LibraryPose).values(usage_count=7))
    with stocked.writing() as session:
        seed_library(session, Storage(tmp_path / "storage"), files, now=later(60))

    with stocked.reading() as session:
        assert {pose.usage_count for pose in session.scalars(select(LibraryPose))} == {7}


def test_the_shipped_library_can_be_seeded(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    shipped = read_library()

    with database.writing() as session:
        seed_library(session, Storage(tmp_path / "storage"), shipped, now=NOW)

    with database.reading() as session:
        counted = sum(branch.pose_count for branch in category_tree(session))
        assert counted == len(shipped.poses) >= 12
        assert len(shipped.categories) >= 4
    database.close()


def test_a_category_stands_in_its_parent_whatever_the_order_of_the_files(stocked: Database) -> None:
    with stocked.reading() as session:
        tree = category_tree(session)

    assert [(branch.category.slug, branch.pose_count) for branch in tree] == [("floor", 3), ("air", 1)]
    assert [(child.category.slug, child.pose_count) for child in tree[0].children] == [("resting", 2)]


@pytest.mark.parametrize("named", ["floor", "FLOOR", "Floor poses"])
def test_a_category_is_named_by_slug_or_name_and_includes_its_children(stocked: Database, named: str) -> None:
    assert set(found(stocked, category=named)) == {"p1", "p2", "p3"}


def test_a_category_is_named_by_id(stocked: Database) -> None:
    with stocked.reading() as session:
        category_id = session.scalars(select(PoseCategory.id).where(PoseCategory.slug == "resting")).one()

    assert set(found(stocked, category=category_id)) == {"p1", "p2"}


def test_a_category_that_does_not_exist_is_not_found(stocked: Database) -> None:
    with pytest.raises(NotFound):
        found(stocked, category="water")


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ({"difficulty": "advanced"}, {"p1", "p2"}),
        ({"gender_suitability": "male"}, {"p0", "p2", "p3"}),
        ({"gender_suitability": "unisex"}, {"p2", "p3"}),
        ({"featured": True}, {"p0"}),
        ({"featured": False}, {"p1", "p2", "p3"}),
        ({"search": "ZED"}, {"p0"}),
        ({"search": "a"}, {"p0", "p1", "p2", "p3"}),
        ({"search": "0%"}, {"p1"}),
        ({"search": "_"}, {"p2"}),
        ({"search": "  gamma "}, {"p3"}),
        ({"search": "it GAMMA of"}, {"p3"}),
        ({"search": "gamma zed"}, set()),
        ({"search": "plaid"}, {"p1"}),
        ({"search": "plaid 100%"}, {"p1"}),
        ({"search": '"'}, set()),
        ({"search": "[ ,"}, set()),
        ({"search": "'; --"}, set()),
        ({"search": "e", "difficulty": "beginner", "category": "floor"}, {"p3"}),
    ],
)
def test_filters_and_search_narrow_the_list(stocked: Database, query: dict[str, object], slugs: set[str]) -> None:
    assert set(found(stocked, **query)) == slugs


def test_popular_poses_come_first_by_default(stocked: Database) -> None:
    with stocked.writing() as session:
        session.execute(update(LibraryPose).where(LibraryPose.slug == "p1").values(usage_count=9))
        session.execute(update(LibraryPose).where(LibraryPose.slug == "p2").values(favorite_count=2))
        session.execute(update(LibraryPose).where(LibraryPose.slug == "p3").values(popularity_score=8.0))

    assert found(stocked)[:3] == ["p2", "p1", "p3"]
    with stocked.reading() as session:
        assert [pose.popularity for pose in list_poses(session, LibraryQuery(), EVERYTHING).rows] == [10, 9, 8, 0]


def test_the_newest_come_first_when_asked(stocked: Database) -> None:
    with stocked.writing() as session:
        session.execute(update(LibraryPose).where(LibraryPose.slug == "p1").values(created_at=later(9)))

    assert found(stocked, sort="newest")[0] == "p1"


def test_sorting_by_something_else_is_refused(stocked: Database) -> None:
    with pytest.raises(BadInput, match="popular, newest, name"):
        found(stocked, sort="price")


def test_pages_cut_the_list_without_losing_or_repeating(stocked: Database) -> None:
    slugs = []
    with stocked.reading() as session:
        for number in (1, 2, 3):
            page = list_poses(session, LibraryQuery(sort="newest"), Page(number=number, limit=2))
            assert (page.total, page.total_pages) == (4, 2)
            slugs += [pose.slug for pose in page.rows]

    assert sorted(slugs) == ["p0", "p1", "p2", "p3"]


def test_a_pose_is_found_by_id_and_by_slug(stocked: Database) -> None:
    with stocked.reading() as session:
        by_slug = pose_by_id(session, "p1")
        assert pose_by_id(session, by_slug.id).slug == "p1"
        assert by_slug.category.slug == "resting"
        with pytest.raises(NotFound):
            pose_by_id(session, "p9")


def test_a_pose_that_is_not_public_is_nowhere(house: House) -> None:
    with house.database.writing() as session:
        session.execute(update(LibraryPose).where(LibraryPose.slug == "pose-0").values(is_public=False))

    with house.database.reading() as session:
        assert list_poses(session, LibraryQuery(), EVERYTHING).total == 3
        assert category_tree(session)[0].pose_count == 3
        with pytest.raises(NotFound):
            pose_by_id(session, "pose-0")


def test_a_second_seeding_draws_nothing(stocked: Database, files: LibraryFiles, tmp_path: Path) -> None:
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}

    with stocked.writing() as session:
        seed_library(session, Storage(tmp_path / "storage"), files, now=later(60))

    assert written
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")} == written


def test_a_lost_picture_is_drawn_again(stocked: Database, files: LibraryFiles, tmp_path: Path) -> None:
    lost = next(tmp_path.rglob("map-*.png"))
    content = lost.read_bytes()
    lost.unlink()

    with stocked.writing() as session:
        seed_library(session, Storage(tmp_path / "storage"), files, now=later(60))

    assert lost.read_bytes() == content
