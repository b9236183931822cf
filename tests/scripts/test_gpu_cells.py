"""What is measured in the time there is, in which order, and that every cell has its ten timed steps."""

import pytest
from gpu_cells import (
    CACHES,
    COMPILED,
    CONTROL_STEPS,
    STEPS,
    STOCK,
    Group,
    Speed,
    Way,
    affordable,
    cost_s,
    group,
    groups,
    in_turns,
    most_asked,
    timed_steps,
    title,
)

SIZES = ((1024, 1024), (768, 1024), (512, 512))
EVERY = tuple(Way)


def test_the_full_plan_has_every_size_with_every_number_of_pictures_once() -> None:
    planned = [(one.size, one.pictures) for one in groups("full", SIZES, EVERY)]
    assert sorted(planned) == sorted((size, pictures) for size in SIZES for pictures in (1, 2, 3, 4, 5, 8))


def test_both_plans_begin_with_all_ways_of_four_large_pictures_and_then_ask_what_the_bars_ask() -> None:
    for plan in ("short", "full"):
        first, second, third, *_ = groups(plan, SIZES, EVERY)
        assert (first.size, first.pictures, first.ways) == ((1024, 1024), 4, EVERY)
        assert [(one.size, one.pictures) for one in (second, third)] == [((768, 1024), 4), ((1024, 1024), 8)]
    assert groups("short", SIZES, EVERY)[1].ways == most_asked(EVERY)


def test_one_picture_in_a_call_is_measured_once() -> None:
    assert Way.STOCK_SINGLE not in group((512, 512), 1, EVERY).ways
    assert Way.STOCK_SINGLE in group((512, 512), 2, EVERY).ways


def test_without_compiling_the_plain_way_stands_for_ours() -> None:
    assert Way.OURS in most_asked([way for way in EVERY if way is not Way.OURS_COMPILED])
    assert Way.OURS not in most_asked(EVERY)


@pytest.mark.parametrize("way", EVERY)
@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_a_cell_times_at_least_ten_steps(way: Way, repeats: int) -> None:
    with_control, without = timed_steps(way, repeats)
    assert repeats * (with_control + without) >= 10
    assert bool(without) is (way not in STOCK)
    if way in CACHES:
        assert (with_control, without) == (CONTROL_STEPS, STEPS - CONTROL_STEPS)


def test_a_group_costs_its_operations_and_its_compiling() -> None:
    small = Group(size=(512, 512), pictures=2, ways=(Way.STOCK_SINGLE, Way.OURS_COMPILED), repeats=2)
    speed = Speed(flops=10.0, compile_s=7.0)
    steps = 2 * (1 + 5) + 3
    assert cost_s(small, speed, lambda _size: 1.0, compiled=False) == pytest.approx(steps * (1 + 2) / 10)
    assert cost_s(small, speed, lambda _size: 1.0, compiled=True) == pytest.approx(steps * (1 + 2) / 10 + 7)


def test_what_no_longer_fits_is_repeated_less_or_left_out_and_a_cheaper_one_still_fits() -> None:
    wanted = [Group(size=(1, 1), pictures=pictures, ways=(Way.OURS,)) for pictures in (1, 8, 3, 1)]
    left = iter([100.0] + [100.0] * 6 + [6.0, 6.0, 6.0] + [3.0])
    took = list(
        affordable(wanted, lambda: next(left), lambda one: 1000.0 if one.pictures == 8 else one.repeats * one.pictures)
    )
    assert [(one.pictures, fits) for one, fits in took] == [(1, True), (8, False), (3, True), (1, True)]
    assert took[2][0].repeats == 2


def test_a_group_that_does_not_fit_is_measured_in_the_ways_that_the_bars_ask_for() -> None:
    whole = group((1024, 1024), 4, EVERY)
    ((found, fits),) = affordable([whole], lambda: 6.0, lambda one: float(len(one.ways)))
    assert fits
    assert found.ways == most_asked(EVERY)


def test_every_way_has_a_turn_in_each_repeat_and_each_repeat_begins_with_another() -> None:
    turns = list(in_turns((Way.OURS, Way.OURS_FAST), 2))
    assert turns == [(0, Way.OURS), (0, Way.OURS_FAST), (1, Way.OURS_FAST), (1, Way.OURS)]


def test_a_title_says_compiled_only_where_it_was() -> None:
    assert all(("compiled" in title(way, compiled=True)) is (way in COMPILED) for way in EVERY)
    assert not any("compiled" in title(way, compiled=False) for way in EVERY)
