"""The ruler of the built-in model: what the scores say of pictures whose truth is known."""

import numpy as np
import pytest
from mannequin_cases import score_cases, stacked
from mannequin_scores import colour_hits, figure_of, inner, largest_piece, named_colour, shows_one_body

SIDE = 96


@pytest.fixture(scope="module")
def cases():
    return score_cases(30, SIDE, library=10)


def test_true_renders_have_the_colours_that_their_captions_say(cases):
    hits = colour_hits(cases, stacked(cases, "truth"))
    assert set(hits) == {"shirt", "trousers", "background"}
    assert min(hits.values()) >= 0.93


def test_pictures_of_others_do_not(cases):
    others = stacked(cases[1:] + cases[:1], "truth")
    assert max(colour_hits(cases, others).values()) < 0.4


def test_true_renders_show_one_body_and_torn_ones_do_not(cases):
    truths = stacked(cases, "truth")
    assert np.mean([shows_one_body(picture) for picture in truths]) >= 0.9
    torn = []
    for picture in truths:
        ground = np.broadcast_to(picture[:, :1], picture.shape)
        stripes = (np.arange(SIDE) // 8 % 2 == 0)[:, None, None]
        torn.append(np.where(stripes, ground, picture))
    assert np.mean([shows_one_body(picture) for picture in torn]) <= 0.2
    assert not shows_one_body(np.full((SIDE, SIDE, 3), 120, np.uint8))


def test_the_figure_is_what_differs_from_the_ground(cases):
    for case in cases[:8]:
        both = figure_of(case.truth) & (case.parts > 0)
        assert both.sum() >= 0.5 * (case.parts > 0).sum()


def test_pieces_are_joined_by_edges_and_not_by_corners():
    mask = np.zeros((6, 6), bool)
    mask[0, :3] = True
    mask[1, 3] = True
    mask[3:5, 3:6] = True
    assert largest_piece(mask) == 6
    assert largest_piece(np.zeros((3, 3), bool)) == 0


def test_inner_drops_the_rim_unless_nothing_would_be_left():
    mask = np.zeros((12, 12), bool)
    mask[2:10, 2:10] = True
    assert inner(mask).sum() == 36
    thin = np.zeros((12, 12), bool)
    thin[5] = True
    assert np.array_equal(inner(thin), thin)


@pytest.mark.parametrize("name", ["red", "navy", "white", "black", "beige"])
def test_colours_are_named_in_light_and_in_shade(name):
    from mannequin_looks import CLOTHES

    for shade in (0.76, 0.92):
        assert named_colour(np.asarray(CLOTHES[name], np.float32) * shade, shaded=True) == name


def test_cases_are_the_same_every_time_and_end_with_library_poses():
    first, again = (score_cases(4, SIDE, library=2) for _ in range(2))
    assert [case.prompt for case in first] == [case.prompt for case in again]
    assert np.array_equal(stacked(first, "truth"), stacked(again, "truth"))
    assert [case.name.startswith("random-") for case in first] == [True, True, False, False]
