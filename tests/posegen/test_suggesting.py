"""Poses for words from the database, and orders by words alone."""

from typing import Any

import pytest
from sqlalchemy import update
from support.house import NOW, House
from support.shelving import shelve_shipped_poses

from posegen.errors import BadInput, WordingRefused
from posegen.orders import TEXT, Order, place_order
from posegen.poses import mirrored_pose, pose_from_openpose, pose_to_openpose
from posegen.suggesting import suggest_poses
from posegen.tables import Generation, LibraryPose, WorkItem
from posegen.words import LibraryEntry, best_poses
from posegen.words.bending import shipped_library

SHIPPED = [
    LibraryEntry(
        key=None,
        slug=authored.slug,
        name=authored.name,
        description=authored.description,
        tags=authored.tags,
        people=pose_to_openpose(authored.pose),
    )
    for authored in shipped_library().poses
]


def by_words(house: House, words: str, count: int = 4, **asked: Any) -> Any:
    """Place an order of so many variations by words alone."""
    return house.order("ann", count, generation_type=TEXT, pose_ids=(), words=words, **asked)


@pytest.fixture
def house(house: House) -> House:
    """Ann with credits, and only the shipped poses on the shelf."""
    house.customer("ann", credits=1000)
    with house.database.writing() as session:
        session.execute(update(LibraryPose).values(is_public=False))
    shelve_shipped_poses(house.database)
    return house


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("arms crossed", "arms-crossed"),
        ("sitting at a desk, typing", "desk-typing"),
        ("doing yoga on one leg", "tree-pose"),
        ("a couple dancing", "dancing-couple"),
        ("kneeling with the left arm raised", "kneeling-upright"),
    ],
)
def test_the_ranking_is_the_same_on_every_database(house: House, text: str, slug: str) -> None:
    with house.database.reading() as session:
        found = [one.candidate for one in suggest_poses(session, text, limit=8)]

    expected = best_poses(text, SHIPPED, 8)
    assert [(one.entry.slug, one.score, one.pose) for one in found] == [
        (one.entry.slug, one.score, one.pose) for one in expected
    ]
    assert found[0].entry.slug == slug


def test_an_unchanged_pose_brings_its_stored_preview_and_a_changed_one_does_not(house: House) -> None:
    with house.database.reading() as session:
        shown, changed = (suggest_poses(session, text, limit=1)[0] for text in ("arms crossed", "left arm raised"))

    assert shown.preview_key == "library/arms-crossed/preview.png"
    assert changed.preview_key is None


def test_poses_that_are_not_public_are_not_suggested(house: House) -> None:
    with house.database.writing() as session:
        session.execute(update(LibraryPose).where(LibraryPose.slug == "tree-pose").values(is_public=False))

    with house.database.reading() as session:
        found = suggest_poses(session, "doing yoga on one leg", limit=20)

    assert "tree-pose" not in {one.candidate.entry.slug for one in found}


def test_refused_wording_is_refused_here_too(house: House) -> None:
    with pytest.raises(WordingRefused), house.database.reading() as session:
        suggest_poses(session, "a bloody scene", limit=1)


def test_an_order_by_words_draws_the_pose_they_choose(house: House) -> None:
    placed = by_words(house, "sitting with arms crossed")

    assert (placed.total_pictures, placed.credits_charged) == (4, 120)
    items = house.items(placed.generation_id)
    assert [item.variation_key for item in items] == ["text-v0", "text-v1", "text-v2", "text-v3"]
    with house.database.reading() as session:
        (best,) = suggest_poses(session, "sitting with arms crossed", limit=1)
    assert pose_from_openpose(items[0].people).pose == best.candidate.pose
    assert pose_from_openpose(items[1].people).pose == mirrored_pose(best.candidate.pose)
    assert len({str(item.people) for item in items}) == 4
    assert {item.pose_id for item in items} == {None}
    house.assert_books_balance()


def test_the_generation_says_what_was_chosen_and_why(house: House) -> None:
    structure = house.generation(by_words(house, "sitting with arms crossed", 2).generation_id).generated_pose_structure

    assert structure is not None
    assert (structure["poseName"], structure["shown"], structure["changed"], structure["neutral"]) == (
        "On a stool", ["sitting"], ["arms crossed"], False,
    )  # fmt: skip
    assert structure["whyChosen"].startswith('The pose "On a stool" shows sitting; was changed to: arms crossed')
    assert structure["variations"] == [
        {"variationKey": "text-v0", "mirrored": False, "jointsMoved": False},
        {"variationKey": "text-v1", "mirrored": True, "jointsMoved": False},
    ]


def test_words_that_say_nothing_of_a_pose_are_drawn_standing_and_this_is_said(house: House) -> None:
    placed = by_words(house, "a gunmetal coat in Essex at midnight", 1)

    structure = house.generation(placed.generation_id).generated_pose_structure
    assert structure is not None
    assert (structure["neutral"], structure["poseName"]) == (True, "Relaxed front stand")
    assert "No pose fits these words" in structure["whyChosen"]
    assert house.items(placed.generation_id)[0].people is not None


def test_the_words_themselves_are_the_prompt(house: House) -> None:
    item = house.items(by_words(house, "a gunmetal coat in Essex, arms crossed", 1).generation_id)[0]

    assert item.prompt.startswith("person, a gunmetal coat in Essex, arms crossed, professional photography")


def test_the_same_seed_gives_the_same_key_points(house: House) -> None:
    first, second, other = (
        [item.people for item in house.items(by_words(house, "arms raised", 6, seed=seed).generation_id)]
        for seed in (7, 7, 8)
    )

    assert first == second
    assert first[2:] != other[2:]


def test_words_that_name_a_side_are_never_mirrored(house: House) -> None:
    structure = house.generation(by_words(house, "left arm raised", 6).generation_id).generated_pose_structure

    assert structure is not None
    assert [one["mirrored"] for one in structure["variations"]] == [False] * 6


@pytest.mark.parametrize(
    ("words", "variations", "field"), [(None, 1, "textPrompt"), ("arms crossed", 11, "variationCount")]
)
def test_what_words_cannot_order_leaves_nothing_behind(
    house: House, words: str | None, variations: int, field: str
) -> None:
    order = Order(
        project_id=house.project("ann"), generation_type=TEXT, pose_ids=(), words=words, variations=variations
    )
    with pytest.raises(BadInput) as refused, house.database.writing() as session:
        place_order(session, "ann", order, profile_name="tiny", now=NOW)

    assert [problem.field for problem in refused.value.problems] == [field]
    assert house.count(Generation) == house.count(WorkItem) == 0
    assert house.balance("ann") == 1000
