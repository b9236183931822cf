"""How many pictures of a size share a forward: a rule over measured seconds, without torch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.batch_choice import ALIKE, WITHIN, batch_per_size, best_batch, stand_ins
from models.profiles import FLUX1_DEV


@pytest.mark.parametrize(
    ("forward_s", "chosen"),
    [
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),  # a card that is full with one picture
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 8),  # one that has room for eight
        ({1: 1.0, 2: 1.95, 4: 3.7, 8: 7.4}, 4),  # eight gains nothing over four
        ({1: 1.0, 2: 1.95, 4: 3.9, 8: 7.6}, 2),  # 2 and 4 are 2.6 % below 8: within three
        ({1: 1.0, 2: 1.95, 4: 3.95, 8: 8.8}, 1),  # the best is 2.5 % better than one
        ({1: 1.0, 2: 1.6, 4: 4.4}, 2),  # more may be slower
        ({1: 0.3}, 1),  # nothing else fitted
    ],
)
def test_the_smallest_batch_that_is_nearly_as_fast_as_the_fastest_is_chosen(
    forward_s: dict[int, float], chosen: int
) -> None:
    assert best_batch(forward_s) == chosen


@given(st.dictionaries(st.sampled_from([1, 2, 4, 8]), st.floats(0.01, 100), min_size=1))
def test_no_choice_gives_up_more_throughput_than_agreed(forward_s: dict[int, float]) -> None:
    rates = {batch: batch / seconds for batch, seconds in forward_s.items()}
    chosen = best_batch(forward_s)
    assert rates[chosen] >= (1 - WITHIN) * max(rates.values())
    assert all(rates[batch] < (1 - WITHIN) * max(rates.values()) for batch in rates if batch < chosen)


@pytest.mark.parametrize("forward_s", [{}, {1: 0.0}, {1: 1.0, 2: -1.0}])
def test_nothing_is_chosen_from_nothing(forward_s: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="no throughput is known"):
        best_batch(forward_s)


def test_every_size_gets_a_batch_and_alike_ones_the_same() -> None:
    sizes = ((1024, 1024), (768, 1344), (512, 512), (1344, 768))
    measured = {(1024, 1024): {1: 1.0, 2: 2.0}, (512, 512): {1: 1.0, 2: 1.0}}
    assert batch_per_size(measured, sizes) == {(1024, 1024): 1, (768, 1344): 1, (1344, 768): 1, (512, 512): 2}


def test_flux_is_measured_at_four_sizes_of_its_eleven() -> None:
    found = stand_ins(FLUX1_DEV.sizes)
    assert set(found) == set(FLUX1_DEV.sizes)
    assert set(found.values()) == {(1024, 1024), (768, 1024), (768, 768), (512, 512)}
    for (width, height), (wide, high) in found.items():
        assert (1 - ALIKE) * wide * high <= width * height <= wide * high
