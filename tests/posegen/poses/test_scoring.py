"""How closely a found pose holds the wanted one: COCO's similarity, joint by joint, person by person."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from posegen.poses import KeyPoint, Person, Pose, mirrored_pose, read_library
from posegen.poses.scoring import AREA_OF_HEIGHT, SIGMAS, pose_score
from posegen.poses.skeleton import BODY_POINTS, L_WRIST, NECK, R_WRIST

Move = Callable[[KeyPoint], KeyPoint]


def moved(pose: Pose, move: Move) -> Pose:
    people = [Person(body=tuple(None if p is None else move(p) for p in person.body)) for person in pose.people]
    return Pose(people=tuple(people), aspect=pose.aspect)


def without(person: Person, *joints: int) -> Person:
    return Person(body=tuple(None if at in joints else point for at, point in enumerate(person.body)))


def shifted(pose: Pose, x: float, y: float = 0.0) -> Pose:
    return moved(pose, lambda p: KeyPoint(p.x + x, p.y + y))


def test_a_perfect_hit_scores_1_and_nobody_scores_0(standing_pose: Pose) -> None:
    assert pose_score(standing_pose, standing_pose) == 1
    assert pose_score(standing_pose, None) == 0


def test_a_joint_that_is_off_scores_as_the_formula_says() -> None:
    """A person of one bone: as long as an upper arm is of somebody who is 0.5 canvases tall."""
    body: list[KeyPoint | None] = [None] * BODY_POINTS
    body[2], body[3] = KeyPoint(0.5, 0.3), KeyPoint(0.5, 0.3 + 0.186 * 0.5)
    wanted = Pose(people=(Person(body=tuple(body)),))
    s, k = math.sqrt(AREA_OF_HEIGHT) * 0.5, 2 * SIGMAS[3]
    body[3] = KeyPoint(0.5 + s * k, 0.3 + 0.186 * 0.5)  # off by s k: exp(-1/2)

    assert pose_score(wanted, Pose(people=(Person(body=tuple(body)),))) == pytest.approx(
        (1 + math.exp(-0.5)) / 2, abs=1e-4
    )


def test_the_score_falls_with_the_distance_and_not_with_the_size_of_the_picture(standing_pose: Pose) -> None:
    scores = [pose_score(standing_pose, shifted(standing_pose, x)) or 0.0 for x in (0.0, 0.01, 0.03, 0.1, 0.3)]

    assert scores == sorted(scores, reverse=True)
    assert scores[1] > 0.9
    assert scores[-1] < 0.05
    half = moved(standing_pose, lambda p: KeyPoint(p.x / 2, p.y / 2))
    assert pose_score(half, shifted(half, 0.015)) == pytest.approx(scores[2], abs=1e-3)


def test_a_wide_canvas_stretches_no_distance(standing_pose: Pose) -> None:
    """The same body on a canvas twice as wide, as far off to the side as down."""
    wide = Pose(people=moved(standing_pose, lambda p: KeyPoint(p.x / 2, p.y)).people, aspect=2.0)

    assert pose_score(wide, shifted(wide, 0.015)) == pytest.approx(pose_score(wide, shifted(wide, 0, 0.03)), abs=1e-4)


def test_a_joint_that_was_not_found_counts_as_0(standing_pose: Pose, standing_person: Person) -> None:
    found = Pose(people=(without(standing_person, R_WRIST, L_WRIST),))

    assert pose_score(standing_pose, found) == pytest.approx(16 / 18)


def test_a_joint_that_nobody_wanted_costs_nothing(standing_pose: Pose, standing_person: Person) -> None:
    wanted = Pose(people=(without(standing_person, R_WRIST, NECK),))

    assert pose_score(wanted, standing_pose) == 1


def test_joints_outside_the_frame_do_not_count(standing_pose: Pose) -> None:
    cut = shifted(standing_pose, 0.0, 0.3)  # the feet are below the lower edge
    seen = Pose(people=(Person(body=tuple(p if p and p.y <= 1 else None for p in cut.people[0].body)),))

    assert pose_score(cut, seen) == 1
    assert pose_score(shifted(standing_pose, 0.0, 0.5), seen) not in (None, 1)


def test_a_pose_with_no_joint_in_the_frame_is_not_judged(standing_pose: Pose) -> None:
    outside = Pose(people=(Person(body=(KeyPoint(1.2, 0.5), *(None,) * 17)),))

    assert pose_score(outside, standing_pose) is None


def test_people_in_another_order_are_fine_and_one_who_is_missing_counts_as_0(standing_pose: Pose) -> None:
    left, right = (shifted(standing_pose, x).people[0] for x in (-0.25, 0.25))
    wanted = Pose(people=(left, right))

    assert pose_score(wanted, Pose(people=(right, left))) == 1
    assert pose_score(wanted, Pose(people=(right,))) == 0.5
    assert pose_score(Pose(people=(right,)), Pose(people=(left, right))) == 1


def test_people_are_matched_for_the_best_mean_and_nobody_twice(standing_pose: Pose) -> None:
    """The second one wanted is held best by whom the first one needs: the first must not take the only good one."""
    here, near, far = (shifted(standing_pose, x).people[0] for x in (0.0, 0.02, 0.3))
    wanted, found = Pose(people=(near, here)), Pose(people=(here, far))
    alone = pose_score(Pose(people=(here,)), Pose(people=(here,)))

    assert alone == 1
    assert pose_score(wanted, found) == pytest.approx(0.5, abs=0.05)
    assert pose_score(Pose(people=(here, near)), Pose(people=(near, here))) == 1


def test_eight_people_are_matched_at_once(standing_pose: Pose) -> None:
    crowd = tuple(shifted(standing_pose, 0.05 * at - 0.2).people[0] for at in range(8))

    assert pose_score(Pose(people=crowd), Pose(people=crowd[::-1])) == 1


def test_another_pose_of_the_library_an_upside_down_and_a_mirrored_one_score_low() -> None:
    poses = [authored.pose for authored in read_library().poses]
    lopsided = max(poses, key=lambda pose: 1 - (pose_score(pose, mirrored_pose(pose)) or 0.0))
    flipped = [pose_score(pose, moved(pose, lambda p: KeyPoint(p.x, 1 - p.y))) or 0.0 for pose in poses]
    others = sorted(pose_score(a, replace(b, aspect=a.aspect)) or 0.0 for a, b in zip(poses, poses[7:], strict=False))

    assert {pose_score(pose, pose) for pose in poses} == {1}
    assert (pose_score(lopsided, mirrored_pose(lopsided)) or 0.0) < 0.1
    assert max(flipped) < 0.4
    assert others[len(others) // 2] < 0.2
