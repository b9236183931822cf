"""How long an order takes, from what the workers measured and who else waits."""

from datetime import datetime, timedelta

import pytest
from support.house import NOW, SIZE, House, drawn

from posegen.database import database_now
from posegen.estimates import (
    Estimate,
    Outlook,
    Waiting,
    estimate_of_generation,
    estimate_of_order,
    outlook_of_generation,
    taken_before,
)
from posegen.finishing import deliver_picture, mark_started
from posegen.generations import progress_of
from posegen.queueing import Candidate, Room, choose
from posegen.workforce import useful_rings


def clock(house: House) -> datetime:
    with house.database.reading() as session:
        return database_now(session)


def estimate_of(house: House, generation_id: str) -> Estimate:
    with house.database.reading() as session:
        return estimate_of_generation(session, house.generation(generation_id), now=clock(house))


def estimate(house: House, generation_id: str) -> int | None:
    return estimate_of(house, generation_id).total_s


def estimate_before(house: House, user_id: str, pictures: int, *, unlimited: bool = False) -> Estimate:
    with house.database.reading() as session:
        return estimate_of_order(
            session, user_id, pictures=pictures, unlimited=unlimited, profile="tiny", now=clock(house)
        )


def queued(user_id: str, pictures: int, *, unlimited: bool = False, served_s_ago: float | None = None) -> Waiting:
    served_at = None if served_s_ago is None else NOW - timedelta(seconds=served_s_ago)
    since = NOW - timedelta(seconds=ord(user_id[0]))  # nobody came at the same moment
    return Waiting(user_id=user_id, unlimited=unlimited, pictures=pictures, served_at=served_at, since=since)


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

    house.customer()

    assert estimate(house, house.order("ann", 4).generation_id) == 2


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
    assert (progress.percentage, progress.completed, progress.total) == (100, 1, 1)
    assert (progress.estimate.position, progress.estimate.total_s) == (None, 0)


def test_an_order_that_must_wait_is_told_its_place_and_both_times(house: House) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
    house.worker(heard=clock(house), pictures_per_s=2)  # four rows
    house.order("bob", 8)
    house.claim(4)

    told = estimate_of(house, house.order("ann", 4).generation_id)

    # ann was never served: first in line, then in turn with bob's four. She waits for one row of the four that bob has.
    assert told == Estimate(position=1, queue_wait_s=0.5, drawing_s=5.0)
    assert told.total_s == 6  # 4 being drawn, 3 of bob's between ann's 4: 11 pictures, 2 a second


def test_an_order_that_was_begun_waits_no_more(house: House) -> None:
    house.customer()
    house.worker(heard=clock(house), pictures_per_s=1)
    generation_id = house.order("ann", 6).generation_id
    house.claim(4)

    begun = estimate_of(house, generation_id)

    assert begun == Estimate(position=1, queue_wait_s=0.0, drawing_s=6.0)
    with house.database.writing() as session:
        mark_started(session, generation_id, now=clock(house))
    assert estimate_of(house, generation_id) == begun


def test_what_is_being_drawn_has_no_place_in_the_line(house: House) -> None:
    house.customer()
    house.worker(heard=clock(house), pictures_per_s=1)
    generation_id = house.order("ann", 4).generation_id
    house.claim(4)

    assert estimate_of(house, generation_id) == Estimate(position=None, queue_wait_s=0.0, drawing_s=4.0)


def test_an_order_stands_behind_the_same_users_earlier_one(house: House) -> None:
    house.customer()
    house.worker(heard=clock(house), pictures_per_s=1)
    first, second = (house.order("ann", 6).generation_id for _ in range(2))

    assert [estimate_of(house, one).position for one in (first, second)] == [1, 7]
    assert [estimate_of(house, one).total_s for one in (first, second)] == [6, 12]


def test_the_place_is_known_while_the_speed_is_not(house: House) -> None:
    house.customer()
    house.order("ann", 6)

    told = estimate_of(house, house.order("ann", 1).generation_id)

    assert told == Estimate(position=7, queue_wait_s=None, drawing_s=None)
    assert told.total_s is None


@pytest.mark.parametrize("unlimited", [False, True])
def test_an_order_is_told_before_it_is_placed_what_it_is_told_after(house: House, unlimited: bool) -> None:
    for user_id in ("ann", "bob"):
        house.customer(user_id)
    if unlimited:
        house.subscribe("ann")
    house.worker(heard=clock(house), pictures_per_s=2)
    house.order("bob", 12)
    house.order("ann", 3)

    before = estimate_before(house, "ann", 4, unlimited=unlimited)

    assert estimate_of(house, house.order("ann", 4).generation_id) == before


LINES = {
    "alone": [queued("ann", 5)],
    "in turn": [queued("ann", 5), queued("bob", 2, served_s_ago=1), queued("cid", 9, served_s_ago=50)],
    "with the tier": [queued("ann", 5), queued("bob", 9, unlimited=True), queued("cid", 3)],
    "in the tier": [queued("ann", 5, unlimited=True), queued("bob", 9), queued("cid", 3, unlimited=True)],
    "the tier is short": [queued("ann", 5), queued("bob", 2, unlimited=True)],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_place_in_the_line_is_the_one_the_queue_gives(line: list[Waiting]) -> None:
    candidates = [
        Candidate(
            item_id=f"{one.user_id}-{turn}",
            user_id=one.user_id,
            unlimited=one.unlimited,
            user_served_at=one.served_at,
            turn=turn,
            queued_at=one.since,
            size_px=SIZE,
        )
        for one in line
        for turn in range(one.pictures)
    ]

    taken = [candidate.item_id for candidate in choose(candidates, Room(free_rows=99), now=NOW)]

    places = {f"{one.user_id}-{turn}": taken_before(line, one, turn) for one in line for turn in range(one.pictures)}
    assert places == {item_id: place for place, item_id in enumerate(taken)}


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


def test_progress_events_tell_the_same_time_as_the_status(house: House) -> None:
    now = clock(house)
    for user_id in ("ann", "bob"):
        house.customer(user_id)
    house.worker(heard=now, pictures_per_s=0.5)
    generation_id = house.order("ann", 6).generation_id
    house.order("bob", 8)

    told, asked = [], []
    while claims := house.claim(4, now=now):
        for claim in claims:
            house.deliver(claim, now=now)
            if claim.generation_id != generation_id:
                continue
            told.append(last_progress(house, generation_id))
            asked.append(estimate(house, generation_id))

    assert told == asked
    assert told[0] > 6 / 0.5  # bob is served in between
    assert told[-1] == 0


def last_progress(house: House, generation_id: str) -> int:
    events = [event for event in house.events("ann") if event.type == "progress"]
    assert {event.generation_id for event in events} == {generation_id}
    return int(events[-1].payload["estimatedTimeRemaining"])


def test_an_outlook_read_before_a_delivery_is_as_good_as_one_read_in_it(house: House) -> None:
    now = clock(house)
    house.customer()
    house.worker(heard=now, pictures_per_s=0.5)
    generation_id = house.order("ann", 6).generation_id
    claim = house.claim(4, now=now)[0]

    with house.database.reading() as session:
        outlook = outlook_of_generation(session, generation_id, now=now)
    with house.database.writing() as session:
        assert deliver_picture(session, claim, drawn(claim), outlook=outlook, now=now)

    assert outlook == Outlook(pictures=6, left=6, pictures_per_s=0.5)
    assert last_progress(house, generation_id) == estimate(house, generation_id) == 10


def test_without_a_measured_speed_an_outlook_knows_only_the_end() -> None:
    outlook = Outlook(pictures=6, left=4, pictures_per_s=None)

    assert (outlook.remaining_s(3), outlook.remaining_s(0)) == (None, 0)
