"""Turning figures exactly, and variations of a chosen pose."""

import math
from dataclasses import replace

import pytest

from posegen.poses.authoring import AuthoredPose
from posegen.poses.figure import Figure, solve
from posegen.poses.keypoints import Pose
from posegen.poses.validation import validate_pose
from posegen.words import LibraryEntry, best_poses, variations_of
from posegen.words.bending import shipped_library, shipped_pose
from posegen.words.turning import mirrored_figure, turned_figure

FIGURES = [
    (authored.slug, solved.figure)
    for authored in shipped_library().poses[::6]
    for solved in authored.figures
    if solved is not None and not solved.figure.placement.roll
]


def places(figure: Figure) -> list[tuple[float, float, float]]:
    """Joints below the head, and hands, in space."""
    solved = solve(figure)
    hands = [*(solved.hand_left or ()), *(solved.hand_right or ())]
    return [point for point in solved.body[1:14] if point] + hands


def farthest(one: Pose, other: Pose) -> float:
    """How far some joint lies elsewhere, in heights of the canvas."""
    return max(
        math.hypot((a.x - b.x) * one.aspect, a.y - b.y)
        for ours, theirs in zip(one.people, other.people, strict=True)
        for a, b in zip(ours.body, theirs.body, strict=True)
        if a and b
    )


@pytest.mark.parametrize("figure", [figure for _, figure in FIGURES], ids=[slug for slug, _ in FIGURES])
def test_a_turn_and_back_is_no_turn(figure: Figure) -> None:
    for before, after in zip(places(figure), places(turned_figure(turned_figure(figure, 75), -75)), strict=True):
        assert after == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("figure", [figure for _, figure in FIGURES], ids=[slug for slug, _ in FIGURES])
def test_a_turn_by_a_half_circle_shows_the_back(figure: Figure) -> None:
    level = [(x, y, z) for x, y, z in places(figure)[:13]]

    for (x, y, z), after in zip(level, places(turned_figure(figure, 180))[:13], strict=True):
        assert after == pytest.approx((-x, y, -z), abs=0.03)  # a tilted axis is counted from the picture


def test_the_mirror_image_of_a_figure_is_its_mirror_image() -> None:
    figure = shipped_pose("runway-walk").figures[0]
    assert figure is not None
    ours, theirs = figure.body, solve(mirrored_figure(figure.figure)).body

    for right, left in ((2, 5), (4, 7), (8, 11), (10, 13)):
        a, b = ours[right], theirs[left]
        assert a
        assert b == pytest.approx((-a[0], a[1], a[2]), abs=1e-6)


@pytest.mark.parametrize("text", ["arms crossed", "sitting, looking left", "lying on the side", "two friends jumping"])
def test_variations_differ_and_every_one_can_be_taken(library: list[LibraryEntry], text: str) -> None:
    best = best_poses(text, library, 1)[0]

    made = variations_of(best.authored, range(10), may_mirror=True)

    assert made[0].pose == best.pose
    assert len({one.pose for one in made}) >= 9
    assert [one.mirrored for one in made[:4]] == [False, True, False, True]


@pytest.mark.parametrize("may_mirror", [True, False])
@pytest.mark.parametrize("authored", shipped_library().poses[::5], ids=lambda authored: authored.slug)
def test_every_variation_can_be_told_from_the_chosen_pose(authored: AuthoredPose, may_mirror: bool) -> None:
    first, *others = variations_of(authored, range(4), may_mirror=may_mirror)
    least = 0.01 if len(authored.figures) == 1 else 0.004  # where people touch each other, only heads move

    assert [one for one in others if farthest(first.pose, one.pose) < least] == []


def test_a_mirror_image_that_looks_the_same_is_moved_too() -> None:
    both, one = (
        variations_of(shipped_pose(slug), range(2), may_mirror=True)[1] for slug in ("hands-on-hips", "sprint")
    )

    assert (both.mirrored, both.moved) == (True, True)
    assert (one.mirrored, one.moved) == (True, False)


def test_moved_joints_stay_within_what_the_validator_allows(library: list[LibraryEntry]) -> None:
    for text in ("arms raised", "sitting with arms crossed", "running", "hands on hips, left knee raised"):
        authored = best_poses(text, library, 1)[0].authored
        for one in variations_of(authored, range(20), may_mirror=False):
            # Without figures only the drawing is judged, as anybody sees it; with_figures judged the joints.
            drawn = replace(authored, pose=one.pose, figures=(None,))
            assert [f for f in validate_pose(drawn) if f.rule in ("frame", "balance")] == []


def test_the_same_seeds_give_the_same_poses(library: list[LibraryEntry]) -> None:
    authored = best_poses("arms crossed", library, 1)[0].authored

    assert variations_of(authored, [5, 6, 7], may_mirror=False) == variations_of(authored, [5, 6, 7], may_mirror=False)
    assert variations_of(authored, [5, 6, 7], may_mirror=False) != variations_of(authored, [5, 8, 9], may_mirror=False)


def test_what_names_a_side_is_not_mirrored(library: list[LibraryEntry]) -> None:
    authored = best_poses("left arm raised", library, 1)[0].authored

    assert not any(one.mirrored for one in variations_of(authored, range(6), may_mirror=False))
