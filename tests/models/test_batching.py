"""The batching rule, without torch: who shares a forward, who waits, who leaves."""

from typing import Any

import pytest

from models.batching import TRY_MORE_AFTER, Batching
from models.errors import EngineClosed, KeyInUse
from models.profiles import TINY
from models.sample import Sample, SampleState


@pytest.fixture
def batching() -> Batching:
    return Batching(TINY, max_batch=3)


def keys(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.key for sample in samples]


def test_waiting_requests_fill_the_free_rows_in_order(batching: Batching, ask: Any) -> None:
    for key in "abcd":
        batching.submit(ask(key))
    assert keys(batching.decide().rows) == ["a", "b", "c"]


def test_rows_at_different_steps_and_with_different_numbers_share_a_forward(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a", steps=9))
    for row in batching.decide().rows:
        row.tensors = "encoded"
        row.advance(with_control=False, share_s=0.0)
    batching.submit(ask("b", steps=4, guidance=1.0, control_scale=0.3, seed=1, prompt="another"))
    assert [(row.key, row.steps_done) for row in batching.decide().rows] == [("a", 1), ("b", 0)]


def test_only_newcomers_are_encoded(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    for row in batching.decide().to_encode:
        row.tensors = "encoded"
    batching.submit(ask("b"))
    assert keys(batching.decide().to_encode) == ["b"]


def test_another_size_waits_until_the_rows_ran_dry(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    batching.submit(ask("wide", width=256, height=192))
    rows = batching.decide().rows
    assert keys(rows) == ["a"]
    batching.leave_rows(rows)
    assert keys(batching.decide().rows) == ["wide"]


def test_nobody_overtakes_a_request_that_waits_for_its_size(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    batching.submit(ask("wide", width=256, height=192))
    batching.submit(ask("b"))
    assert keys(batching.decide().rows) == ["a"]


def test_a_precise_request_does_not_share_a_forward_with_others(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    batching.submit(ask("b", precise=True))
    assert keys(batching.decide().rows) == ["a"]


def test_a_cancelled_row_leaves_at_the_next_decision_and_its_row_is_taken(batching: Batching, ask: Any) -> None:
    for key in "abcd":
        batching.submit(ask(key))
    batching.decide()
    batching.cancel("b")
    decision = batching.decide()
    assert keys(decision.cancelled) == ["b"]
    assert keys(decision.rows) == ["a", "c", "d"]


def test_a_request_cancelled_while_waiting_never_gets_a_row(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    batching.cancel("a")
    decision = batching.decide()
    assert (keys(decision.cancelled), keys(decision.rows)) == (["a"], [])


def test_cancelling_an_unknown_key_cancels_no_later_request_of_that_key(batching: Batching, ask: Any) -> None:
    batching.cancel("a")
    batching.submit(ask("a"))
    assert keys(batching.decide().rows) == ["a"]


def test_a_live_key_is_refused(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    with pytest.raises(KeyInUse):
        batching.submit(ask("a"))


def test_a_closed_line_refuses(batching: Batching, ask: Any) -> None:
    batching.close()
    with pytest.raises(EngineClosed):
        batching.submit(ask("a"))


def test_too_many_rows_are_halved_and_the_younger_keep_their_progress(batching: Batching, ask: Any) -> None:
    for key in "abcd":
        batching.submit(ask(key))
    rows = batching.decide().rows
    rows[2].advance(with_control=True, share_s=0.0)
    assert batching.halve_rows(rows)
    assert batching.live_keys() == ("a", "b", "c", "d")
    assert keys(batching.decide().rows) == ["a"]
    assert (rows[2].steps_done, rows[2].state) == (1, SampleState.WAITING)


def test_the_lower_limit_is_for_that_size_only(batching: Batching, ask: Any) -> None:
    for key in "ab":
        batching.submit(ask(key))
    rows = batching.decide().rows
    batching.halve_rows(rows)
    batching.drop(rows)
    for key in ("w1", "w2", "w3"):
        batching.submit(ask(key, width=256, height=192))
    assert keys(batching.decide().rows) == ["w1", "w2", "w3"]


def test_a_single_row_cannot_be_halved(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    assert not batching.halve_rows(batching.decide().rows)


def test_free_rows_count_the_waiting_and_the_active_but_not_the_decoding(batching: Batching, ask: Any) -> None:
    for key in "ab":
        batching.submit(ask(key))
    assert batching.free_rows() == 1
    rows = batching.decide().rows
    batching.leave_rows(rows[:1])
    assert batching.free_rows() == 2


def halved(batching: Batching, ask: Any) -> tuple[Sample, ...]:
    """Fill three rows and have memory allow one; returns the row that stays."""
    for key in "abc":
        batching.submit(ask(key))
    assert batching.halve_rows(batching.decide().rows)
    return batching.decide().rows


def test_free_rows_are_those_that_fit_the_memory(batching: Batching, ask: Any) -> None:
    rows = halved(batching, ask)
    batching.cancel("b")
    batching.cancel("c")
    batching.decide()
    assert batching.free_rows() == 0
    batching.drop(rows)
    batching.submit(ask("wide", width=256, height=192))
    assert batching.free_rows() == 2


def test_an_empty_line_has_the_free_rows_of_the_size_that_fits_worst(batching: Batching, ask: Any) -> None:
    batching.limit_rows((256, 192, False), 2)
    assert batching.free_rows() == 2
    batching.limit_rows((256, 192, True), 1)
    assert batching.free_rows() == 2


def test_a_size_may_have_a_limit_of_its_own(batching: Batching, ask: Any) -> None:
    batching.limit_size((128, 128), 2)
    for key in "abc":
        batching.submit(ask(key))
    rows = batching.decide().rows
    assert keys(rows) == ["a", "b"]
    batching.drop((*rows, *batching.decide().rows))
    batching.cancel("c")
    batching.decide()
    for key in ("w1", "w2", "w3"):
        batching.submit(ask(key, width=256, height=192))
    assert keys(batching.decide().rows) == ["w1", "w2", "w3"]


def test_an_empty_line_has_the_free_rows_of_the_size_with_the_lowest_limit(batching: Batching, ask: Any) -> None:
    batching.limit_size((256, 192), 1)
    batching.limit_size((128, 128), 2)
    assert batching.free_rows() == 1
    batching.submit(ask("a"))
    assert batching.free_rows() == 1
    batching.submit(ask("b"))
    assert batching.free_rows() == 0


def test_memorys_limit_grows_back_no_further_than_the_sizes_own(ask: Any) -> None:
    batching = Batching(TINY, max_batch=8)
    batching.limit_size((128, 128), 3)
    batching.limit_rows((128, 128, False), 2)
    for key in "abcd":
        batching.submit(ask(key))
    for _ in range(2 * TRY_MORE_AFTER):
        batching.count_forward(batching.decide().rows)
    assert len(batching.decide().rows) == 3


def test_no_size_is_limited_to_nothing(batching: Batching) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        batching.limit_size((128, 128), 0)


def test_more_rows_are_tried_again_after_many_forwards_that_fitted(batching: Batching, ask: Any) -> None:
    rows = halved(batching, ask)
    for _ in range(TRY_MORE_AFTER - 1):
        batching.count_forward(rows)
    assert len(batching.decide().rows) == 1
    batching.count_forward(rows)
    assert len(batching.decide().rows) == 2


def test_forwards_below_the_limit_prove_nothing(batching: Batching, ask: Any) -> None:
    batching.submit(ask("a"))
    batching.limit_rows((128, 128, False), 2)
    rows = batching.decide().rows
    for _ in range(2 * TRY_MORE_AFTER):
        batching.count_forward(rows)
    assert batching.row_limit(rows[0].lane) == 2


def test_a_try_of_more_rows_that_failed_goes_back_to_what_fitted(ask: Any) -> None:
    batching = Batching(TINY, max_batch=8)
    batching.limit_rows((128, 128, False), 3)
    for key in "abcd":
        batching.submit(ask(key))
    fitted = batching.decide().rows
    for _ in range(TRY_MORE_AFTER):
        batching.count_forward(fitted)
    crowded = batching.decide().rows
    assert batching.halve_rows(crowded)
    assert (len(fitted), len(crowded), len(batching.decide().rows)) == (3, 4, 3)


def test_the_limit_is_forgotten_when_all_rows_fitted_again(batching: Batching, ask: Any) -> None:
    batching.limit_rows((128, 128, False), 2)
    for key in "abc":
        batching.submit(ask(key))
    for _ in range(2 * TRY_MORE_AFTER):
        batching.count_forward(batching.decide().rows)
    assert len(batching.decide().rows) == 3
    batching.close()
    assert batching.free_rows() == 3


def test_the_current_size_is_that_of_the_last_in_line(batching: Batching, ask: Any) -> None:
    assert batching.current_size() is None
    batching.submit(ask("a"))
    assert batching.current_size() == (128, 128)
    batching.submit(ask("wide", width=256, height=192))
    assert batching.current_size() == (256, 192)


def test_finished_pictures_are_decoded_in_small_groups_of_one_size(ask: Any) -> None:
    batching = Batching(TINY, max_batch=8)
    for key in "abcdef":
        batching.submit(ask(key))
    batching.leave_rows(batching.decide().rows)
    assert keys(batching.decide().to_decode) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("steps", "end", "followed"),
    [(10, 0.65, 6), (8, 0.9, 7), (28, 0.65, 18), (1, 0.99, 0), (1, 1.0, 1), (4, 0.0, 0)],
)
def test_the_control_is_followed_for_its_share_of_the_steps(
    ask: Any, pose: Any, steps: int, end: float, followed: int
) -> None:
    sample = Sample(request=ask("a", control=pose((128, 128), 0), steps=steps, control_end=end))
    asked = []
    for _ in range(steps):
        asked.append(sample.wants_control())
        sample.advance(with_control=asked[-1], share_s=0.0)
    assert asked == [True] * followed + [False] * (steps - followed)


def test_a_control_of_no_strength_is_not_followed(ask: Any, pose: Any) -> None:
    assert not Sample(request=ask("a", control=pose((128, 128), 0), control_scale=0.0)).wants_control()
