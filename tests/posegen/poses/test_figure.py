import math

import pytest

from posegen.poses import anatomy
from posegen.poses.figure import Arm, Bone, Figure, Hand, Head, Leg, Placement, Torso, project, solve
from posegen.poses.skeleton import L_WRIST, R_EAR, R_ELBOW, R_SHOULDER, R_WRIST

DOWN = Bone(swing=0)


def figure(*, upper=DOWN, lower=DOWN, torso=None, head=None, hand=None):
    arm, leg = Arm(upper=upper, lower=lower, hand=hand), Leg(upper=DOWN, lower=DOWN)
    return Figure(
        placement=Placement(stature=0.8, anchor="ground", height=0.95),
        torso=torso or Torso(),
        head=head or Head(),
        right_arm=arm,
        left_arm=arm,
        right_leg=leg,
        left_leg=leg,
    )


def test_positive_swing_moves_each_arm_to_its_own_side():
    body = solve(figure(upper=Bone(swing=90), lower=Bone(swing=90))).body
    assert body[R_WRIST][0] < body[R_SHOULDER][0]
    assert body[L_WRIST][0] == pytest.approx(-body[R_WRIST][0])


def test_depth_foreshortens_by_its_cosine():
    body = solve(figure(upper=Bone(swing=0, depth=60))).body
    drawn = math.dist(body[R_SHOULDER][:2], body[R_ELBOW][:2])
    assert drawn == pytest.approx(anatomy.UPPER_ARM * 0.5)
    assert body[R_ELBOW][2] > 0


def test_a_raised_arm_lifts_its_shoulder():
    low, high = solve(figure()).body, solve(figure(upper=Bone(swing=180))).body
    assert high[R_SHOULDER][1] > low[R_SHOULDER][1]


def test_the_feet_stand_on_the_ground_that_was_asked_for():
    person = project(solve(figure()), 1.0)
    assert person.body[10].y == pytest.approx(0.95 - anatomy.ANKLE_HEIGHT * 0.8)


def test_turning_the_head_hides_the_far_ear():
    turned_right = solve(figure(head=Head(turn=60))).body
    assert turned_right[R_EAR] is not None
    assert turned_right[17] is None


def test_from_behind_there_is_no_nose():
    assert solve(figure(head=Head(turn=180))).body[0] is None


@pytest.mark.parametrize(("palm", "thumb_outwards"), [(0, True), (180, False)])
def test_with_the_palm_to_the_viewer_the_thumb_of_a_hanging_hand_points_outwards(palm, thumb_outwards):
    solved = solve(figure(hand=Hand(shape="flat", palm=palm)))
    assert (solved.hand_right[4][0] < solved.hand_right[0][0]) is thumb_outwards
    assert (solved.hand_left[4][0] > solved.hand_left[0][0]) is thumb_outwards


def test_a_face_has_seventy_points_with_the_persons_right_eye_on_the_viewers_left():
    face = solve(figure(head=Head(face=True))).face
    assert len(face) == 70
    assert face[36][0] < face[45][0]
    assert face[8][1] < face[30][1] < face[37][1] < face[19][1]
