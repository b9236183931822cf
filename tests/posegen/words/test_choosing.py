"""Choosing poses for words: what is shown, what is bent, and that nothing impossible comes out."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from posegen.poses import KeyPoint, mirrored_pose
from posegen.poses.skeleton import (
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)  # fmt: skip
from posegen.poses.validation import validate_pose
from posegen.words import LibraryEntry, best_poses
from posegen.words.bending import shipped_pose
from posegen.words.phrases import ARMS, HEAD_AND_BODY, LEGS, PHRASES, STANCES, VIEWS

Body = Callable[[int], KeyPoint]
Library = list[LibraryEntry]


def body(text: str, library: Library) -> Body:
    """The best pose's points by number, all of which are asked for must be there."""
    points = best_poses(text, library, 1)[0].pose.people[0].body

    def point(index: int) -> KeyPoint:
        found = points[index]
        assert found is not None, f"{text}: point {index} is not seen"
        return found

    return point


READS_AS: list[tuple[str, Callable[[Body], bool]]] = [
    ("left arm raised", lambda at: at(L_WRIST).y < at(NOSE).y and at(R_WRIST).y > at(R_ELBOW).y),
    ("arms raised", lambda at: max(at(L_WRIST).y, at(R_WRIST).y) < at(NOSE).y),
    ("arms crossed", lambda at: at(R_WRIST).x > at(NECK).x > at(L_WRIST).x and at(R_WRIST).y < at(R_HIP).y),
    ("arms spread", lambda at: abs(at(L_WRIST).y - at(L_SHOULDER).y) < 0.03 and at(L_WRIST).x > at(L_ELBOW).x),
    ("hands on hips", lambda at: at(R_ELBOW).x < at(R_WRIST).x and at(L_ELBOW).x > at(L_WRIST).x),
    ("hands behind the head", lambda at: abs(at(R_WRIST).y - at(NOSE).y) < 0.06 and at(R_ELBOW).x < at(R_WRIST).x),
    ("left knee raised", lambda at: at(L_KNEE).y < at(R_KNEE).y - 0.05 and at(L_ANKLE).y < at(R_ANKLE).y - 0.05),
    ("right knee raised", lambda at: at(R_KNEE).y < at(L_KNEE).y - 0.05 and at(R_ANKLE).y < at(L_ANKLE).y - 0.05),
    ("left leg forward", lambda at: at(L_ANKLE).x - at(R_ANKLE).x > 0.15),
    ("right leg forward", lambda at: at(L_ANKLE).x - at(R_ANKLE).x > 0.15),
    ("sitting", lambda at: abs(at(L_HIP).y - at(L_KNEE).y) < 0.15 < at(L_ANKLE).y - at(L_KNEE).y),
    ("kneeling", lambda at: abs(at(R_KNEE).y - at(R_ANKLE).y) < 0.05 and at(R_KNEE).y > at(R_HIP).y + 0.15),
    ("looking left", lambda at: at(NOSE).x > (at(R_EYE).x + at(L_EYE).x) / 2 + 0.005),
    ("looking right", lambda at: at(NOSE).x < (at(R_EYE).x + at(L_EYE).x) / 2 - 0.005),
    ("looking up", lambda at: at(NOSE).y < at(R_EAR).y and at(NOSE).y < at(L_EAR).y),
    ("looking down", lambda at: at(NOSE).y > at(R_EAR).y + 0.02 and at(NOSE).y > at(L_EAR).y + 0.02),
    ("seen from behind", lambda at: at(R_SHOULDER).x > at(L_SHOULDER).x),
    ("side view", lambda at: abs(at(R_SHOULDER).x - at(L_SHOULDER).x) < 0.05),
    ("looking over the left shoulder",
     lambda at: at(R_SHOULDER).x > at(L_SHOULDER).x and at(NOSE).x < at(NECK).x),
    ("looking over the right shoulder",
     lambda at: at(R_SHOULDER).x > at(L_SHOULDER).x and at(NOSE).x > at(NECK).x),
    ("leaning to the left", lambda at: at(NECK).x > (at(R_HIP).x + at(L_HIP).x) / 2 + 0.03),
    ("leaning forward", lambda at: at(NECK).x > (at(R_HIP).x + at(L_HIP).x) / 2 + 0.05),
    ("jumping with arms crossed", lambda at: at(R_WRIST).x > at(L_WRIST).x and at(R_ANKLE).x < at(R_HIP).x - 0.05),
    ("sitting with arms crossed, looking left",
     lambda at: abs(at(L_HIP).y - at(L_KNEE).y) < 0.15 and at(R_WRIST).x > at(L_WRIST).x),
    ("waving, hand on hip", lambda at: at(R_WRIST).y < at(R_SHOULDER).y and at(L_WRIST).x < at(L_ELBOW).x),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reads"), READS_AS, ids=[text for text, _ in READS_AS])
def test_the_best_pose_reads_as_its_words(library: Library, text: str, reads: Callable[[Body], bool]) -> None:
    assert reads(body(text, library))


@pytest.mark.parametrize("stance", [phrase.name for phrase in STANCES])
def test_whatever_is_combined_the_pose_is_one_a_body_can_take(library: Library, stance: str) -> None:
    first = len(stance)  # not the same ones for every stance
    texts = [f"{stance}, {one.name}" for one in (*ARMS, *LEGS, *HEAD_AND_BODY, *VIEWS)[first % 2 :: 2]]
    threes = product(ARMS[first % 3 :: 8], HEAD_AND_BODY[first % 4 :: 4], VIEWS)
    texts += [", ".join((stance, *(one.name for one in three))) for three in threes]

    for text in texts:
        (best,) = best_poses(text, library, 1)
        assert validate_pose(best.authored) == (), text
        assert 0 <= best.score <= 1


def test_standing_every_change_can_be_made(library: Library) -> None:
    for phrase in (*ARMS, *LEGS, *HEAD_AND_BODY, *VIEWS):
        best = best_poses(f"standing, {phrase.name}", library, 1)[0]
        assert best.missing == (), phrase.name


def test_the_grammar_names_only_poses_that_are_shipped() -> None:
    slugs = {getattr(phrase.change, "slug", None) for phrase in PHRASES} - {None}

    for slug in (*slugs, *(base for phrase in PHRASES for base in phrase.bases)):
        assert shipped_pose(slug).figures[0] is not None


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("arms crossed", "arms-crossed"),
        ("a business portrait with folded arms", "arms-crossed-portrait"),
        ("doing the yoga tree", "tree-pose"),
        ("reading a book on the sofa", "reading"),
        ("a couple walking hand in hand", "couple-holding-hands"),
        ("three friends jumping for joy", "three-jumping"),
        ("lying on the stomach", "lying-on-stomach"),
        ("hugging the knees on the floor", "knees-hugged"),
    ],
)
def test_a_pose_that_shows_the_words_by_itself_is_found_unchanged(library: Library, text: str, slug: str) -> None:
    best = best_poses(text, library, 1)[0]

    assert (best.entry.slug, best.is_unchanged) == (slug, True)


def test_nobody_gets_company_without_asking(library: Library) -> None:
    assert all(len(one.pose.people) == 1 for one in best_poses("dancing with joy", library, 20))


def test_those_who_ask_for_company_get_company_first(library: Library) -> None:
    found = best_poses("a couple dancing", library, 3)

    assert [len(one.pose.people) for one in found] == [2, 2, 2]


def test_words_that_say_nothing_of_a_pose_get_the_neutral_one_and_are_told_so(library: Library) -> None:
    (only,) = best_poses("a neon city at midnight", library, 5)

    assert (only.entry.slug, only.found_nothing) == ("relaxed-front", True)
    assert "No pose fits these words" in only.why


def test_an_empty_library_still_has_the_shipped_poses() -> None:
    best = best_poses("sitting with arms crossed", [], 3)[0]

    assert (best.entry.key, best.shown, best.bent) == (None, ("sitting",), ("arms crossed",))


def test_the_answer_says_what_was_done(library: Library) -> None:
    best = best_poses("sitting with arms crossed, looking left", library, 1)[0]

    assert best.why == (
        'The pose "On a stool" shows sitting; was changed to: arms crossed, looking to the side (left).'
    )


def test_the_same_words_and_library_in_any_order_give_the_same_answer(library: Library) -> None:
    text = "sitting at a desk, thinking"

    assert best_poses(text, library, 5) == best_poses(text, library[::-1], 5)


def test_mirrored_words_give_the_mirror_image(library: Library) -> None:
    plain, mirrored = (best_poses(text, library, 1)[0] for text in ("sitting", "sitting, mirrored"))

    expected = mirrored_pose(plain.pose).people[0].body
    for point, wanted in zip(mirrored.pose.people[0].body, expected, strict=True):
        assert (point is None) == (wanted is None)
        if point and wanted:
            assert (point.x, point.y) == pytest.approx((wanted.x, wanted.y), abs=1e-3)


def test_a_pose_known_by_its_key_points_alone_is_found_but_not_bent(library: Library) -> None:
    own = replace(library[0], slug="own", name="Moonwalk", description="gliding backwards", tags=(), key="own")

    (found,) = (one for one in best_poses("doing the moonwalk, looking left", [own], 5) if one.entry.key == "own")

    assert (found.bent, found.missing, found.matched) == ((), ("looking to the side (left)",), ("moonwalk",))
    assert found.pose == shipped_pose(library[0].slug).pose


def test_a_pose_that_no_body_can_take_is_not_offered(library: Library) -> None:
    folded = {**library[0].people, "people": [{"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}]}
    broken = {"people": []}
    wrong = [
        replace(library[0], slug=f"wrong-{index}", name="Moonwalk", people=people)
        for index, people in enumerate((folded, broken))
    ]

    assert [one.entry.slug for one in best_poses("moonwalk", wrong, 5)] == ["relaxed-front"]
