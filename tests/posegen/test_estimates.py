"""How long an order takes, from what the workers measured."""

from datetime import datetime

from support.house import House

from posegen.database import database_now
from posegen.estimates import drawing_estimate_s
from posegen.generations import progress_of
from posegen.workforce import pictures_per_s, useful_rings


def clock(house: House) -> datetime:
    with house.database.reading() as session:
        return database_now(session)


def estimate(house: House, generation_id: str) -> int | None:
    with house.database.reading() as session:
        return drawing_estimate_s(session, house.generation(generation_id), now=clock(house))


def test_before_anything_was_measured_nothing_is_promised(house: House) -> None:
    house.customer()
    house.worker(heard=clock(house))

    assert house.order("ann", 4).estimated_s is None


def test_an_order_takes_its_pictures_at_the_measured_speed(house: House) -> None:
    house.customer()
    house.worker(heard=clock(house), pictures_per_s=0.5)

    assert estimate(house, house.order("ann", 4).generation_id) == 8


def test_workers_are_fast_together_dead_and_other_ones_do_not_count(house: House) -> None:
    now = clock(house)
    house.worker("w1", heard=now, pictures_per_s=0.5)
    house.worker("w2", heard=now, pictures_per_s=1.5)
    house.worker("other", heard=now, pictures_per_s=9, profile="flux1-dev")
    house.worker("dead", heard=now.replace(year=2020), pictures_per_s=9)

    with house.database.reading() as session:
        assert pictures_per_s(session, "tiny", now=now) == 2.0


def test_others_who_wait_are_served_in_turn(house: House) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
    house.worker(heard=clock(house), pictures_per_s=1)
    house.order("bob", 24)

    assert estimate(house, house.order("ann", 4).generation_id) == 8


def test_nobody_waits_longer_than_for_everything_that_is_open(house: House) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
    house.worker(heard=clock(house), pictures_per_s=1)
    house.order("bob", 1)

    assert estimate(house, house.order("ann", 4).generation_id) == 5


def test_what_is_final_takes_no_time(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    house.deliver(house.claim()[0])

    assert estimate(house, generation_id) == 0
    with house.database.reading() as session:
        progress = progress_of(session, house.generation(generation_id), now=clock(house))
    assert (progress.percentage, progress.completed, progress.total, progress.estimated_s) == (100, 1, 1, 0)


def test_an_order_rings_once_for_each_worker_it_keeps_busy(house: House) -> None:
    now = clock(house)
    for name in ("w1", "w2", "w3"):
        house.worker(name, heard=now)  # four rows each
    house.worker("other", heard=now, profile="flux1-dev")

    with house.database.reading() as session:
        rings = [useful_rings(session, "tiny", pictures, now=now) for pictures in (1, 4, 5, 12, 300)]

    assert rings == [1, 1, 2, 3, 3]


def test_an_order_rings_although_nobody_is_there_to_hear(house: House) -> None:
    with house.database.reading() as session:
        assert useful_rings(session, "tiny", 4, now=clock(house)) == 1
