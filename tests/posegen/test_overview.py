"""The service at a glance."""

from support.house import NOW, House, later

from posegen.overview import Line, finished_since, is_alive, read_overview, slots
from posegen.statuses import WorkerStatus


def test_the_queue_is_told_by_profile_with_the_age_of_its_first(house: House) -> None:
    house.customer()
    house.order("ann", 2)
    house.order("ann", 4, now=later(30))
    house.claim(1, now=later(40))

    with house.database.reading() as session:
        told = read_overview(session, now=later(100))

    assert told.lines == (Line(profile="tiny", waiting=5, drawing=1, oldest_s=100.0),)
    assert told.photos_waiting == 0


def test_pictures_that_became_final_lately_are_told_by_how(house: House) -> None:
    house.customer()
    house.order("ann", 4)
    old, new, bad, _left = house.claim()
    house.deliver(old, now=later(10))
    house.deliver(new, now=later(100))
    house.fail(bad, now=later(110))

    with house.database.reading() as session:
        assert finished_since(session, later(60)) == {"completed": 1, "failed": 1}


def test_workers_that_live_or_ended_in_trouble_are_told_and_not_those_that_left_in_peace(house: House) -> None:
    house.worker("alive")
    house.worker("left", status=WorkerStatus.STOPPED)
    house.worker("silent", heard=later(-60))
    house.worker("killed", process="here:1:1")
    house.worker_dies("here:1:1")

    with house.database.reading() as session:
        told = {row.name: is_alive(row, now=NOW) for row in read_overview(session, now=NOW).workers}

    assert told == {"alive": True, "killed": False}


def test_two_workers_on_one_device_have_labels_of_their_own(house: House) -> None:
    house.worker("first")
    house.worker("second")

    with house.database.reading() as session:
        named = slots(read_overview(session, now=NOW).workers)

    assert [(device, row.name) for device, row in named] == [("cpu", "first"), ("cpu#2", "second")]
