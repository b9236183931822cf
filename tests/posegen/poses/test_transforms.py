"""Whole poses changed: mirrored, filling their frame, side by side."""

import math

import pytest

from posegen.poses import (
    KeyPoint,
    Person,
    Pose,
    PoseRefused,
    composed_pose,
    fitted_pose,
    frame_pose,
    mirrored_pose,
    pose_from_openpose,
    pose_to_openpose,
    read_library,
)
from posegen.poses.skeleton import L_WRIST, R_WRIST

LIBRARY = read_library()


def bones(pose: Pose) -> list[float]:
    """Lengths of the right arm and leg of everybody, in heights of the canvas."""
    lengths = []
    for person in pose.people:
        for start, end in ((2, 3), (3, 4), (8, 9), (9, 10)):
            a, b = person.body[start], person.body[end]
            if a and b:
                lengths.append(math.hypot((a.x - b.x) * pose.aspect, a.y - b.y))
    return lengths


def test_a_mirrored_right_arm_is_the_left_one(standing_pose: Pose) -> None:
    before, after = standing_pose.people[0], mirrored_pose(standing_pose).people[0]

    right, left = before.body[R_WRIST], after.body[L_WRIST]
    assert right
    assert left
    assert (left.x, left.y) == (pytest.approx(1 - right.x), right.y)


@pytest.mark.parametrize("authored", LIBRARY.poses[::7], ids=lambda authored: authored.slug)
def test_the_mirror_image_of_the_mirror_image_is_the_pose(authored) -> None:
    assert mirrored_pose(mirrored_pose(authored.pose)) == authored.pose


def test_the_mirrored_face_keeps_the_order_of_its_landmarks() -> None:
    face = next(person.face for one in LIBRARY.poses for person in one.pose.people if person.face)
    turned = mirrored_pose(Pose(people=(Person(body=(KeyPoint(0.5, 0.5),) * 18, face=face),))).people[0].face

    assert turned
    jaw = [point.x for point in (turned[0], turned[8], turned[16]) if point]
    brows = [point.x for point in (turned[17], turned[26]) if point]
    assert jaw == sorted(jaw)
    assert brows == sorted(brows)


def test_a_fitted_pose_fills_its_frame_and_nobody_is_stretched(standing_person: Person) -> None:
    small = Person(body=tuple(None if p is None else KeyPoint(p.x / 4, p.y / 4) for p in standing_person.body))
    pose = Pose(people=(small,))

    fitted = fitted_pose(pose)

    ratios = [after / before for before, after in zip(bones(pose), bones(fitted), strict=True)]
    assert min(ratios) > 3
    assert max(ratios) - min(ratios) < 1e-3
    assert all(0 < point.x < 1 and 0 < point.y < 1 for point in fitted.seen_points())


def test_a_single_point_cannot_fill_a_frame() -> None:
    dot = Pose(people=(Person(body=(KeyPoint(0.5, 0.5), *[None] * 17)),))

    with pytest.raises(PoseRefused, match="single point"):
        fitted_pose(dot)


def test_composed_people_stand_side_by_side_as_large_as_before(standing_pose: Pose) -> None:
    wide = frame_pose(standing_pose, 2.0)

    together = composed_pose([standing_pose, wide, standing_pose])

    assert len(together.people) == 3
    assert bones(together) == pytest.approx(bones(standing_pose) + bones(wide) + bones(standing_pose), abs=1e-4)
    edges = [[point.x for point in person.seen_points()] for person in together.people]
    assert max(edges[0]) < min(edges[1])
    assert max(edges[1]) < min(edges[2])
    assert all(0 < x < 1 for xs in edges for x in xs)


def test_a_composition_fits_the_canvas_that_is_asked_for(standing_pose: Pose) -> None:
    together = composed_pose([standing_pose] * 4, aspect=0.75)

    assert together.aspect == 0.75
    assert all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in together.seen_points())


def test_nine_people_do_not_fit_one_picture(standing_pose: Pose) -> None:
    with pytest.raises(PoseRefused, match="9 people"):
        composed_pose([standing_pose] * 9)


def test_transformed_poses_can_be_written_and_read_back(standing_pose: Pose) -> None:
    together = fitted_pose(mirrored_pose(composed_pose([standing_pose] * 2)))

    assert pose_from_openpose(pose_to_openpose(together)).pose == together
