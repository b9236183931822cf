import pytest

from posegen.poses import KeyPoint, MapSizeRefused, Person, Pose, draw_pose, draw_preview, read_library
from posegen.poses.drawing import hand_line_colour
from posegen.poses.skeleton import BODY_POINTS, JOINT_COLOURS, LIMBS

HAIR, SHOES = (84, 62, 52), (128, 74, 52)


def only(**points):
    body = [points.get(f"p{i}") for i in range(BODY_POINTS)]
    return Pose(people=(Person(body=tuple(body)),))


@pytest.mark.parametrize("side_px", [256, 512, 1024])
@pytest.mark.parametrize("joint", range(BODY_POINTS))
def test_a_joint_has_its_full_colour_at_its_centre(joint, side_px):
    picture = draw_pose(only(**{f"p{joint}": KeyPoint(0.25, 0.75)}), side_px, side_px)
    assert picture.getpixel((side_px // 4, side_px * 3 // 4)) == JOINT_COLOURS[joint]


@pytest.mark.parametrize("side_px", [256, 512, 1024])
@pytest.mark.parametrize("limb", LIMBS)
def test_a_limb_has_six_tenths_of_its_colour_in_its_middle(limb, side_px):
    ends = {f"p{limb.start}": KeyPoint(0.25, 0.5), f"p{limb.end}": KeyPoint(0.75, 0.5)}
    picture = draw_pose(only(**ends), side_px, side_px)
    assert picture.getpixel((side_px // 2, side_px // 2)) == tuple(int(c * 0.6) for c in limb.colour)


def test_a_limb_is_a_stick_of_eight_pixels_at_512_and_sixteen_at_1024():
    pose = only(p2=KeyPoint(0.25, 0.5), p3=KeyPoint(0.75, 0.5))
    for side_px, thickness in ((512, 8), (1024, 16)):
        column = [draw_pose(pose, side_px, side_px).getpixel((side_px // 2, y)) for y in range(side_px)]
        assert abs(sum(c != (0, 0, 0) for c in column) - thickness) <= 1


def test_no_pixel_has_a_colour_outside_of_the_table(standing_pose):
    allowed = {(0, 0, 0), *JOINT_COLOURS, *(tuple(int(c * 0.6) for c in limb.colour) for limb in LIMBS)}
    colours = {colour for _, colour in draw_pose(standing_pose, 512, 512).getcolors(10_000)}
    assert colours <= allowed


def test_a_missing_joint_takes_only_its_own_limbs_away():
    whole = {"p2": KeyPoint(0.2, 0.2), "p3": KeyPoint(0.5, 0.2), "p4": KeyPoint(0.8, 0.2)}
    picture = draw_pose(only(p2=whole["p2"], p4=whole["p4"]), 256, 256)
    assert picture.getpixel((51, 51)) == JOINT_COLOURS[2]
    assert picture.getpixel((128, 51)) == (0, 0, 0)


def test_a_hand_with_missing_points_is_drawn_without_them(standing_person):
    hand = [KeyPoint(0.1 + 0.03 * i, 0.9) for i in range(21)]
    hand[6] = None
    pose = Pose(people=(Person(body=standing_person.body, hand_left=tuple(hand)),))
    picture = draw_pose(pose, 512, 512)
    assert picture.getpixel((round(512 * 0.13), round(512 * 0.9))) == (0, 0, 255)
    assert picture.getpixel((round(512 * 0.28), round(512 * 0.9) - 3)) == (0, 0, 0)


def test_a_hand_line_has_its_hue(standing_person):
    hand = [None] * 21
    hand[0], hand[9] = KeyPoint(0.1, 0.1), KeyPoint(0.1, 0.3)
    picture = draw_pose(Pose(people=(Person(body=standing_person.body, hand_right=tuple(hand)),)), 512, 512)
    assert picture.getpixel((51, 102)) == hand_line_colour(8)
    assert hand_line_colour(0) == (255, 0, 0)


def test_the_face_is_white_points(standing_person):
    face = (KeyPoint(0.1, 0.1), *([None] * 69))
    picture = draw_pose(Pose(people=(Person(body=standing_person.body, face=face),)), 512, 512)
    assert picture.getpixel((51, 51)) == (255, 255, 255)


def test_two_people_are_both_drawn():
    bodies = [[None] * BODY_POINTS, [None] * BODY_POINTS]
    bodies[0][0], bodies[1][4] = KeyPoint(0.25, 0.5), KeyPoint(0.75, 0.5)
    picture = draw_pose(Pose(people=tuple(Person(body=tuple(body)) for body in bodies)), 256, 256)
    assert picture.getpixel((64, 128)) == JOINT_COLOURS[0]
    assert picture.getpixel((192, 128)) == JOINT_COLOURS[4]


@pytest.mark.parametrize("draw", [draw_pose, draw_preview])
def test_the_same_pose_gives_the_same_bytes(draw, standing_pose):
    first = draw(standing_pose, 192, 256)
    assert first.mode == "RGB"
    assert first.size == (192, 256)
    assert first.tobytes() == draw(standing_pose, 192, 256).tobytes()


@pytest.mark.parametrize("draw", [draw_pose, draw_preview])
@pytest.mark.parametrize("size", [(0, 256), (256, 15), (256, 9000)])
def test_a_size_nobody_can_use_is_refused(draw, size, standing_pose):
    with pytest.raises(MapSizeRefused):
        draw(standing_pose, *size)


@pytest.mark.parametrize("joint", range(BODY_POINTS))
def test_a_preview_is_drawn_whatever_joint_is_missing(joint, standing_person):
    body = tuple(None if i == joint else p for i, p in enumerate(standing_person.body))
    draw_preview(Pose(people=(Person(body=body),)), 64, 64)
    draw_preview(only(**{f"p{joint}": KeyPoint(0.5, 0.5)}), 64, 64)


def colours_of(slug, box):
    """Return the colours in a part of the preview of a library pose; the box is in 0..1."""
    preview = draw_preview(read_library().pose(slug).pose, 256, 256)
    return {colour for _, colour in preview.crop(tuple(round(edge * 256) for edge in box)).getcolors(65536)}


def test_in_the_preview_the_hair_of_somebody_lying_is_at_the_far_end_of_the_head():
    ear = next(p for i in (16, 17) if (p := read_library().pose("lying-on-back").pose.people[0].body[i]))
    assert HAIR in colours_of("lying-on-back", (ear.x - 0.06, ear.y - 0.02, ear.x - 0.02, ear.y + 0.02))
    assert HAIR not in colours_of("lying-on-back", (ear.x + 0.03, ear.y - 0.06, 1, 1))


def test_in_the_preview_somebody_upside_down_has_the_hair_below_the_eyes(standing_person):
    body = tuple(KeyPoint(1 - p.x, 1 - p.y) for p in standing_person.body)
    preview = draw_preview(Pose(people=(Person(body=body),)), 256, 256)
    above, below = preview.crop((0, 0, 256, 215)), preview.crop((0, 226, 256, 256))
    assert HAIR not in {colour for _, colour in above.getcolors(65536)}
    assert HAIR in {colour for _, colour in below.getcolors(65536)}


def test_in_the_preview_nobody_kneels_with_the_shoes_below_the_floor():
    body = read_library().pose("kneeling-upright").pose.people[0].body
    floor = max(p.y for p in body if p) + 0.06
    assert SHOES not in colours_of("kneeling-upright", (0, floor, 1, 1))
