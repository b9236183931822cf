import math

import pytest

from posegen.poses import anatomy
from posegen.poses.figure import Arm, Bone, Figure, Hand, Head, Leg, Placement, Torso, chest_front, project, solve
from posegen.poses.skeleton import FACE_OUTER_LIPS, L_ANKLE, L_WRIST, NECK, R_EAR, R_ELBOW, R_SHOULDER, R_WRIST

DOWN = Bone(swing=0)


def figure(*, upper=DOWN, lower=DOWN, torso=None, head=None, hand=None, roll=0.0):
    arm, leg = Arm(upper=upper, lower=lower, hand=hand), Leg(upper=DOWN, lower=DOWN)
    return Figure(
        placement=Placement(stature=0.8, anchor="ground", height=0.95, roll=roll),
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


def test_a_roll_lays_the_figure_down_with_its_head_to_the_viewers_left():
    standing, lying = solve(figure()).body, solve(figure(roll=-90)).body
    assert lying[NECK] == pytest.approx((-anatomy.SPINE, 0.0, 0.0))
    for a, b in ((NECK, L_ANKLE), (R_SHOULDER, L_WRIST)):
        assert math.dist(lying[a], lying[b]) == pytest.approx(math.dist(standing[a], standing[b]))


def test_a_roll_takes_hands_and_face_along():
    hand, head = Hand(shape="flat"), Head(face=True)
    standing, lying = (solve(figure(hand=hand, head=head, roll=roll)) for roll in (0.0, -90.0))
    for part in ("hand_left", "hand_right", "face"):
        turned = [(-y, x, z) for x, y, z in getattr(standing, part)]
        assert list(getattr(lying, part)) == [pytest.approx(point) for point in turned]


def test_a_smile_draws_the_corners_of_the_mouth_up_and_out():
    corner, middle = FACE_OUTER_LIPS[0], FACE_OUTER_LIPS[3]
    neutral, smiling = anatomy.face_points(), anatomy.face_points(1.0)
    assert smiling[corner][1] > neutral[corner][1]
    assert smiling[corner][0] < neutral[corner][0]  # the person's right corner: to the viewer's left
    assert smiling[middle][1] < smiling[corner][1]
    assert neutral[:48] == smiling[:48]


def test_the_chest_of_somebody_bent_forward_faces_the_floor():
    upright, bent = chest_front(Torso(chest_turn=90)), chest_front(Torso(chest_turn=90, lean=90))
    assert upright == pytest.approx((1.0, 0.0, 0.0))
    assert bent == pytest.approx((0.0, -1.0, 0.0))


@pytest.mark.parametrize("shape", sorted(anatomy.HAND_SHAPES))
def test_every_hand_stays_within_its_reach(shape):
    solved = solve(figure(hand=Hand(shape=shape)))
    for hand in (solved.hand_left, solved.hand_right):
        assert len(hand) == 21
        assert max(math.dist(hand[0], point) for point in hand) < 0.13
