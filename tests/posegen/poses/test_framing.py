import math

import pytest

from posegen.poses import KeyPoint, Person, Pose, PoseRefused, frame_pose, read_library

ASPECTS = [0.5, 9 / 16, 0.75, 1.0, 4 / 3, 16 / 9, 2.0]


def distances(pose):
    points = list(pose.seen_points())
    first = points[0]
    return [math.hypot((p.x - first.x) * pose.aspect, p.y - first.y) for p in points[1:]]


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("authored", read_library().poses, ids=lambda authored: authored.slug)
def test_a_pose_of_the_library_is_never_stretched_nor_pushed_out_of_the_frame(authored, aspect):
    framed = frame_pose(authored.pose, aspect)
    before, after = distances(authored.pose), distances(framed)
    scale = max(after) / max(before)
    assert after == pytest.approx([d * scale for d in before], abs=1e-4)
    assert all(0 <= p.x <= 1 and 0 <= p.y <= 1 for p in framed.seen_points())


def test_a_slim_figure_keeps_its_height_on_a_narrower_canvas(standing_pose):
    framed = frame_pose(standing_pose, 0.75)
    heights = [max(p.y for p in pose.seen_points()) for pose in (standing_pose, framed)]
    assert heights[0] == heights[1]


def test_a_wide_pose_shrinks_to_fit():
    body = [None] * 18
    body[4], body[7] = KeyPoint(0.05, 0.5), KeyPoint(0.95, 0.5)
    framed = frame_pose(Pose(people=(Person(body=tuple(body)),)), 0.5)
    xs = [p.x for p in framed.seen_points()]
    assert xs[0] == pytest.approx(0.04, abs=0.02)
    assert xs[1] == pytest.approx(0.96, abs=0.02)


def test_a_portrait_stays_on_the_lower_edge(standing_person):
    body = tuple(None if p is None else KeyPoint(0.05 + 0.9 * p.x, min(p.y * 1.1, 1.0)) for p in standing_person.body)
    wide = [*body[:3], KeyPoint(0.02, 0.5), *body[4:6], KeyPoint(0.98, 0.5), *body[7:]]
    framed = frame_pose(Pose(people=(Person(body=tuple(wide)),)), 0.5)
    assert max(p.y for p in framed.seen_points()) == 1.0


def test_the_same_aspect_changes_nothing(standing_pose):
    assert frame_pose(standing_pose, 1.0) is standing_pose


@pytest.mark.parametrize("aspect", [0.0, -1.0, math.nan, math.inf])
def test_an_aspect_no_canvas_has_is_refused(standing_pose, aspect):
    with pytest.raises(PoseRefused, match="aspect"):
        frame_pose(standing_pose, aspect)
