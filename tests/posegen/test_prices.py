"""What things cost, and what they are called."""

import re
from concurrent.futures import ThreadPoolExecutor

from posegen.identifiers import SEED_LIMIT, new_id, new_seed
from posegen.prices import picture_price


def test_a_picture_costs_thirty_credits_and_ten_more_with_a_background() -> None:
    assert picture_price(with_background=False) == 30
    assert picture_price(with_background=True) == 40


def test_ids_sort_by_age_even_within_a_millisecond() -> None:
    ids = [new_id() for _ in range(5000)]

    assert ids == sorted(ids)


def test_ids_of_many_threads_are_all_different() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [made for batch in pool.map(lambda _: [new_id() for _ in range(500)], range(8)) for made in batch]

    assert len(set(ids)) == 4000
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made) for made in ids
    )


def test_seeds_are_within_their_limit() -> None:
    assert all(0 <= new_seed() < SEED_LIMIT for _ in range(1000))
