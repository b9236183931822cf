"""The training pictures: same seed, same data; sound skeletons; captions that say what is seen."""

from random import Random

import numpy as np
import pytest
from mannequin_cases import library_figures
from mannequin_looks import CLOTHES, caption, plain_caption, random_look
from mannequin_pictures import HELD_BACK, TRAIN, control_map, make_sample, make_shard, open_shard
from mannequin_recipe import FIGURE_WEIGHT
from mannequin_render import BOTTOM, HAIR, SKIN, TOP, joints_of, render
from mannequin_skeletons import head_frame, random_figure
from mannequin_stances import FAMILIES

from posegen.poses import anatomy
from posegen.poses.figure import project, solve
from posegen.poses.skeleton import L_EYE

SIDE = 64


def test_the_same_seed_and_number_give_the_same_picture_and_another_number_another():
    first, again, other = (make_sample(TRAIN, 7, index, SIDE) for index in (3, 3, 4))
    assert np.array_equal(first.rendered.pixels, again.rendered.pixels)
    assert np.array_equal(first.map, again.map)
    assert first.caption == again.caption
    assert not np.array_equal(first.rendered.pixels, other.rendered.pixels)


def test_held_back_pictures_are_others_than_those_trained_on():
    assert make_sample(TRAIN, 7, 0, SIDE).solved != make_sample(HELD_BACK, 7, 0, SIDE).solved


def test_figures_come_from_every_family_and_bones_have_their_length():
    seen = set()
    for index in range(150):
        family, solved = random_figure(Random(f"soundness:{index}"))
        seen.add(family)
        for start, end, bone in ((2, 3, anatomy.UPPER_ARM), (8, 9, anatomy.THIGH), (12, 13, anatomy.SHANK)):
            a, b = solved.body[start], solved.body[end]
            assert a is not None
            assert b is not None
            assert np.linalg.norm(np.subtract(a, b)) == pytest.approx(bone, rel=1e-6)
    assert seen == set(FAMILIES)


def test_the_head_s_frame_is_the_one_that_places_the_key_points():
    shown = 0
    for index in range(40):
        _, solved = random_figure(Random(f"head:{index}"))
        eye = solved.body[L_EYE]
        if eye is None:
            continue
        pivot, axes = head_frame(solve(solved.figure))
        local = np.subtract(anatomy.LEFT_EYE, anatomy.HEAD_PIVOT)
        assert np.allclose(np.add(pivot, local @ np.array(axes)), eye, atol=1e-6)
        shown += 1
    assert shown > 10


def test_the_figure_fills_most_of_the_frame_and_wears_its_colours():
    for index in range(12):
        sample = make_sample(TRAIN, 1, index, SIDE)
        rows, columns = np.nonzero(sample.rendered.parts)
        assert max(np.ptp(rows), np.ptp(columns)) > 0.7 * SIDE
        look = sample.look
        painted = np.median(sample.rendered.pixels[sample.rendered.parts == TOP], axis=0)
        named = min(CLOTHES, key=lambda name: _unlike(painted, CLOTHES[name]))
        assert _unlike(painted, CLOTHES[look.top_name]) < _unlike(painted, CLOTHES[named]) + 0.25


def _unlike(pixel, colour):
    """Distance without brightness: shading makes a colour darker, not another."""
    a, b = (np.asarray(c, float) / (np.linalg.norm(c) + 1) for c in (pixel, colour))
    return float(np.linalg.norm(a - b))


def test_a_top_is_open_at_the_front_and_not_from_behind():
    opened = {True: [], False: []}
    for index in range(500):
        _, solved = random_figure(Random(f"front:{index}"))
        turn = abs(solved.figure.torso.chest_turn)
        if 35 < turn < 145 or solved.figure.placement.roll or abs(solved.figure.torso.bow) > 25:
            continue
        rendered = render(solved, random_look(Random(f"front:{index}")), 128)
        neck, hips = rendered.joints[1], rendered.joints[[8, 11]].mean(axis=0)
        x, y = (neck + (hips - neck) * 0.12).astype(int)
        opened[turn < 90].append(rendered.parts[y, x] == SKIN)
    assert min(len(some) for some in opened.values()) > 5
    assert np.mean(opened[True]) > 0.3
    assert np.mean(opened[False]) < 0.05


def test_every_part_is_painted_somewhere():
    parts = set()
    for index in range(8):
        parts |= set(np.unique(make_sample(TRAIN, 2, index, SIDE).rendered.parts))
    assert {TOP, BOTTOM, SKIN, HAIR} <= parts


def test_hidden_joints_are_not_seen_and_joints_in_front_are():
    hidden = seen = 0
    for index in range(30):
        rendered = make_sample(TRAIN, 3, index, SIDE).rendered
        seen += int(rendered.seen.sum())
        hidden += int((~rendered.seen).sum())
        for (x, y), is_seen in zip(rendered.joints, rendered.seen, strict=True):
            if is_seen:
                assert rendered.parts[int(y), int(x)] > 0
    assert seen > 3 * hidden > 0


def test_captions_name_only_what_is_there_and_vary():
    rng = Random(5)
    for _ in range(200):
        look = random_look(rng)
        said = caption(rng, look, "walking")
        named = {word.strip(",") for word in said.split()} & set(CLOTHES)
        assert named <= {look.top_name, look.bottom_name, look.ground_name, look.hair_name}
        assert len({look.top_name, look.bottom_name, look.ground_name}) == 3
        assert f"{look.ground_name} background" in plain_caption(look)


def test_a_shard_is_whole_or_not_there_and_says_the_same_when_made_again(tmp_path):
    folder = make_shard(tmp_path, TRAIN, 7, 1, size=3, side_px=SIDE)
    shard = open_shard(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert shard.captions[2] == make_sample(TRAIN, 7, 5, SIDE).caption
    weights = shard.weights().reshape(3, SIDE // 16, SIDE // 16)
    assert weights.min() >= 1
    for weighed, parts, joints in zip(weights, shard.parts, shard.joints, strict=True):
        across, down = (int(x) // 16 for x in joints[0])
        figure = (parts[16 * down :, 16 * across :][:16, :16] > 0).mean()
        assert weighed[down, across] > 1 + FIGURE_WEIGHT * figure + 0.2
    assert make_shard(tmp_path, TRAIN, 7, 1, size=3, side_px=SIDE) == folder


def test_a_head_that_faces_the_viewer_may_have_no_face_in_its_map():
    with_face = []
    for index in range(80):
        sample = make_sample(TRAIN, 7, index, SIDE)
        full = control_map(sample.solved, SIDE)
        if sample.solved.face is not None and sample.solved.figure.placement.stature < 1.5:
            with_face.append(np.array_equal(sample.map, full) or bool((sample.map == 255).all(axis=2).sum() > 8))
        assert full.any(axis=2).sum() >= sample.map.any(axis=2).sum() > 0
    assert 0 < sum(with_face) < 0.7 * len(with_face)


def test_library_poses_are_drawn_where_their_key_points_are():
    figures = library_figures()
    assert len(figures) > 60
    for slug, solved in figures:
        wanted = project(solved, 1.0).body
        places, _ = joints_of(solved, SIDE)
        for point, place in zip(wanted, places, strict=True):
            if point is not None:
                assert np.allclose(place, (point.x * SIDE, point.y * SIDE), atol=0.01), slug
