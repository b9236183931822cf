import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.poses import KeyPoint, Person, Pose, PoseRefused, pose_from_openpose, pose_to_openpose, read_library

SIDE = 512


def pixels(pose, *, c=1.0):
    return [v for p in pose.people[0].body for v in (p.x * SIDE, p.y * SIDE, c)]


def document(numbers, **more):
    return {"people": [{"pose_keypoints_2d": numbers}], **more}


def places(pose):
    return [(round(p.x, 4), round(p.y, 4)) for p in pose.people[0].body if p]


def test_pixels_and_shares_of_the_canvas_read_as_the_same_pose(standing_pose):
    in_pixels = pose_from_openpose(document(pixels(standing_pose), canvas_width=SIDE, canvas_height=SIDE))
    shares = [v for p in standing_pose.people[0].body for v in (p.x, p.y, 1.0)]
    in_shares = pose_from_openpose(document(shares, canvas_width=SIDE, canvas_height=SIDE))
    assert in_pixels.pose == in_shares.pose == standing_pose
    assert in_pixels.assumptions == in_shares.assumptions == ()


def test_body_25_loses_the_middle_hip_and_the_feet(standing_pose):
    body = standing_pose.people[0].body
    middle_hip, feet = KeyPoint(0.5, 0.52), [KeyPoint(0.9, 0.9)] * 6
    points = [*body[:8], middle_hip, *body[8:14], *body[14:], *feet]
    numbers = [v for p in points for v in (p.x, p.y, p.c)]
    read = pose_from_openpose(document(numbers, canvas_width=1, canvas_height=1))
    assert read.pose == standing_pose
    assert "BODY_25" in read.assumptions[0]


def test_coco_17_gets_its_neck_from_the_shoulders(standing_pose):
    body = standing_pose.people[0].body
    order = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
    numbers = [v for i in order for v in (body[i].x, body[i].y, 1.0)]
    read = pose_from_openpose(document(numbers, canvas_width=1, canvas_height=1))
    assert read.pose == standing_pose
    assert "neck" in read.assumptions[0]


@pytest.mark.parametrize("confidence", [0.05, 0.5, 0.999, 1.0])
def test_any_confidence_above_zero_keeps_the_point(standing_pose, confidence):
    read = pose_from_openpose(document(pixels(standing_pose, c=confidence), canvas_width=SIDE, canvas_height=SIDE))
    assert places(read.pose) == places(standing_pose)
    assert read.pose.people[0].body[0].c == confidence


@pytest.mark.parametrize("missing", [(0, 0, 0), (-1, -1, 0), (-1, -1, 1), (None, None, None)])
def test_a_missing_point_is_read_as_missing(standing_pose, missing):
    numbers = pixels(standing_pose)
    numbers[12:15] = missing
    read = pose_from_openpose(document(numbers, canvas_width=SIDE, canvas_height=SIDE))
    assert read.pose.people[0].body[4] is None
    assert sum(p is not None for p in read.pose.people[0].body) == 17


def test_a_file_with_only_zero_confidences_keeps_its_points_and_says_so(standing_pose):
    read = pose_from_openpose(document(pixels(standing_pose, c=0), canvas_width=SIDE, canvas_height=SIDE))
    assert read.pose == standing_pose
    assert "Every confidence was 0" in read.assumptions[0]


def test_one_placed_point_of_zero_confidence_is_missing_and_said(standing_pose):
    numbers = pixels(standing_pose)
    numbers[14] = 0
    read = pose_from_openpose(document(numbers, canvas_width=SIDE, canvas_height=SIDE))
    assert read.pose.people[0].body[4] is None
    assert "confidence 0" in read.assumptions[0]


@pytest.mark.parametrize("absent", [{}, {"hand_left_keypoints_2d": None}, {"hand_left_keypoints_2d": []}])
def test_absent_parts_are_absent(standing_pose, absent):
    payload = document(pixels(standing_pose), canvas_width=SIDE, canvas_height=SIDE)
    payload["people"][0] |= absent
    assert pose_from_openpose(payload).pose.people[0].hand_left is None


def test_a_missing_canvas_size_is_assumed_square_and_said(standing_pose):
    shares = [v for p in standing_pose.people[0].body for v in (p.x, p.y, 1.0)]
    for numbers, words in ((shares, "square canvas"), (pixels(standing_pose), "512x512")):
        read = pose_from_openpose(document(numbers))
        assert read.pose.aspect == 1.0
        assert places(read.pose) == places(standing_pose)
        assert words in read.assumptions[0]


def test_the_canvas_gives_the_pose_its_aspect(standing_pose):
    read = pose_from_openpose(document(pixels(standing_pose), canvas_width=768, canvas_height=1024))
    assert read.pose.aspect == 0.75


def test_a_face_of_68_points_is_taken_without_pupils(standing_pose):
    payload = document(pixels(standing_pose), canvas_width=SIDE, canvas_height=SIDE)
    payload["people"][0]["face_keypoints_2d"] = [250, 70, 0.5] * 68
    face = pose_from_openpose(payload).pose.people[0].face
    assert len(face) == 70
    assert face[67] is not None
    assert face[68:] == (None, None)


def test_people_without_points_are_left_out_and_said(standing_pose):
    payload = document(pixels(standing_pose), canvas_width=SIDE, canvas_height=SIDE)
    payload["people"].append({"pose_keypoints_2d": [0] * 54})
    read = pose_from_openpose(payload)
    assert len(read.pose.people) == 1
    assert "1 of 2 people" in read.assumptions[0]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "the document"),
        ("people", "the document"),
        ({}, "people"),
        ({"people": []}, "people"),
        ({"people": {}}, "people"),
        ({"people": [None]}, "people[0]"),
        ({"people": [{}]}, "people[0].pose_keypoints_2d"),
        (document("0 0 0"), "people[0].pose_keypoints_2d"),
        (document([0.5] * 53), "people[0].pose_keypoints_2d"),
        (document([0.5] * 5000), "people[0].pose_keypoints_2d"),
        (document([0.5] * 53 + ["x"]), "people[0].pose_keypoints_2d[53]"),
        (document([0.5] * 53 + [True]), "people[0].pose_keypoints_2d[53]"),
        (document([0.5] * 53 + [float("nan")]), "people[0].pose_keypoints_2d[53]"),
        (document([0.5] * 53 + [10**400]), "people[0].pose_keypoints_2d[53]"),
        (document([0] * 54), "people"),
        (document([0.5] * 54, canvas_width="wide", canvas_height=9), "canvas_width"),
        (document([0.5] * 54, canvas_width=-4, canvas_height=9), "canvas_width"),
        (document([0.5] * 54, canvas_width=9000, canvas_height=9), "canvas_width"),
        ({"people": [{"pose_keypoints_2d": [0.5] * 54}] * 9}, "people"),
        (document([9000.0, 9000.0, 1.0] * 18, canvas_width=512, canvas_height=512), "people[0]"),
    ],
)
def test_what_is_no_pose_is_refused_by_field(payload, field):
    with pytest.raises(PoseRefused) as refused:
        pose_from_openpose(payload)
    assert refused.value.field == field


points = st.none() | st.builds(KeyPoint, st.floats(-0.5, 1.5), st.floats(-0.5, 1.5), st.floats(0, 1, exclude_min=True))
seen = st.builds(KeyPoint, st.floats(0.01, 1), st.floats(0.01, 1))


def part(count):
    return st.lists(points, min_size=count, max_size=count).map(tuple)


people = st.builds(
    lambda first, rest, hand: Person(body=(first, *rest), hand_left=hand), seen, part(17), st.none() | part(21)
)


@given(st.lists(people, min_size=1, max_size=2), st.fractions(Fraction(1, 8), 8, max_denominator=64))
def test_writing_and_reading_gives_the_same_pose_without_assumptions(persons, aspect):
    pose = Pose(people=tuple(persons), aspect=float(aspect))
    text = json.dumps(pose_to_openpose(pose), allow_nan=False)
    read = pose_from_openpose(json.loads(text))
    assert read.pose == pose
    assert read.assumptions == ()
    assert json.dumps(pose_to_openpose(read.pose)) == text


def test_every_pose_of_the_library_survives_openpose_json():
    for authored in read_library().poses:
        assert pose_from_openpose(pose_to_openpose(authored.pose)).pose == authored.pose
