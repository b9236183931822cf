import math

import pytest

from posegen.poses import MAX_PEOPLE, KeyPoint, Person, Pose, PoseRefused


@pytest.mark.parametrize(
    "values", [(math.nan, 0.5, 1.0), (0.5, math.inf, 1.0), (2.0, 0.5, 1.0), (0.5, 0.5, 0.0), (0.5, 0.5, 1.1)]
)
def test_a_key_point_refuses_what_cannot_be_drawn(values):
    with pytest.raises(PoseRefused):
        KeyPoint(*values)


def test_a_person_must_have_eighteen_body_points(standing_person):
    with pytest.raises(PoseRefused, match="17 points, but must have 18"):
        Person(body=standing_person.body[:-1])


def test_a_person_without_any_seen_point_is_refused():
    with pytest.raises(PoseRefused) as refused:
        Person(body=(None,) * 18)
    assert refused.value.code == "pose_refused"
    assert refused.value.field == "body"


def test_a_hand_without_any_seen_point_counts_as_absent(standing_person):
    person = Person(body=standing_person.body, hand_left=(None,) * 21)
    assert person.hand_left is None


@pytest.mark.parametrize("count", [0, MAX_PEOPLE + 1])
def test_a_pose_holds_one_to_eight_people(standing_person, count):
    with pytest.raises(PoseRefused, match="1 to 8"):
        Pose(people=(standing_person,) * count)


def test_a_pose_refuses_a_canvas_no_picture_has(standing_person):
    with pytest.raises(PoseRefused, match="aspect"):
        Pose(people=(standing_person,), aspect=0)
