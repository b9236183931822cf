"""What the frontend is told: numbered without gaps, in the transaction of what it tells, replayed for a day."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete
from support.house import NOW, House, all_at_once, later

from posegen.errors import NotFound
from posegen.events import (
    EVENTS_KEPT,
    EventMessage,
    events_after,
    is_replayable,
    newest_event_id,
    prune_events,
    record_event,
    recorded_events,
)
from posegen.statuses import EventType
from posegen.tables import UserEvent


def tell(house: House, user_id: str = "ann", *, now: datetime = NOW, times: int = 1) -> None:
    with house.database.writing() as session:
        for _ in range(times):
            record_event(session, user_id, "g1", EventType.STARTED, {"message": "hello"}, now=now)


def numbers(house: House, user_id: str = "ann") -> list[int]:
    return [event.event_id for event in house.events(user_id)]


def replayable(house: House, event_id: int) -> bool:
    with house.database.reading() as session:
        return is_replayable(session, "ann", event_id)


def test_each_user_has_numbers_of_his_own(house: House) -> None:
    house.customer("ann")
    house.customer("bob")

    tell(house, "ann", times=3)
    tell(house, "bob", times=2)

    assert (numbers(house, "ann"), numbers(house, "bob")) == ([1, 2, 3], [1, 2])


def test_numbers_have_no_gaps_when_many_tell_at_once(house: House) -> None:
    house.customer()

    all_at_once([lambda: tell(house, times=5)] * 6)

    assert numbers(house) == list(range(1, 31))


def test_a_rolled_back_event_leaves_neither_row_nor_gap(house: House) -> None:
    house.customer()

    with house.database.writing() as session:
        record_event(session, "ann", "g1", EventType.STARTED, {}, now=NOW)
        session.rollback()
    tell(house)

    assert numbers(house) == [1]


def test_what_was_recorded_is_known_to_who_commits(house: House) -> None:
    house.customer()

    with house.database.writing() as session:
        event = record_event(session, "ann", "g1", EventType.FAILED, {"error": "x"}, now=NOW)
        assert recorded_events(session) == [event]

    with house.database.reading() as session:
        assert recorded_events(session) == []
        assert events_after(session, "ann", 0) == [event]


def test_events_are_read_in_order_from_the_last_one_seen(house: House) -> None:
    house.customer()
    tell(house, times=10)

    with house.database.reading() as session:
        assert [event.event_id for event in events_after(session, "ann", 4)] == [5, 6, 7, 8, 9, 10]
        assert [event.event_id for event in events_after(session, "ann", 4, limit=2)] == [5, 6]
        assert newest_event_id(session, "ann") == 10


def test_nobody_has_no_newest_event(house: House) -> None:
    with house.database.reading() as session, pytest.raises(NotFound):
        newest_event_id(session, "nobody")


def test_events_are_kept_for_a_day(house: House) -> None:
    house.customer()
    tell(house, now=NOW)
    tell(house, now=later(10))

    with house.database.writing() as session:
        assert prune_events(session, now=NOW + EVENTS_KEPT) == 0
    with house.database.writing() as session:
        assert prune_events(session, now=NOW + EVENTS_KEPT + timedelta(seconds=1)) == 1

    assert numbers(house) == [2]


def test_what_is_still_kept_can_be_replayed(house: House) -> None:
    house.customer()
    tell(house, now=NOW, times=2)
    tell(house, now=later(10), times=2)
    with house.database.writing() as session:
        prune_events(session, now=NOW + EVENTS_KEPT + timedelta(seconds=1))

    assert [replayable(house, event_id) for event_id in range(5)] == [False, False, True, True, True]


def test_a_client_that_saw_everything_needs_nothing(house: House) -> None:
    house.customer()
    assert replayable(house, 0)

    tell(house)
    with house.database.writing() as session:
        session.execute(delete(UserEvent))

    assert replayable(house, 1)
    assert not replayable(house, 0)


@pytest.mark.parametrize("event_id", [-1, 3, 10**30])
def test_a_number_that_was_never_told_cannot_be_replayed(house: House, event_id: int) -> None:
    house.customer()
    tell(house, times=2)

    assert not replayable(house, event_id)


def test_a_hole_in_the_middle_cannot_be_replayed(house: House) -> None:
    house.customer()
    tell(house, times=5)
    with house.database.writing() as session:
        session.execute(delete(UserEvent).where(UserEvent.event_id == 3))

    assert [replayable(house, event_id) for event_id in range(6)] == [False, False, False, True, True, True]


def test_on_the_wire_keys_become_links_and_times_end_in_z() -> None:
    message = EventMessage(
        user_id="ann",
        event_id=7,
        generation_id="g1",
        type="pose_completed",
        payload={"poseId": "p", "outputKey": "a/b.png", "thumbnailKey": None},
        created_at=datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
    )

    assert message.on_the_wire(lambda key: f"/files/{key}") == {
        "type": "pose_completed",
        "generationId": "g1",
        "userId": "ann",
        "timestamp": "2026-11-24T12:00:00.123Z",
        "eventId": 7,
        "poseId": "p",
        "outputImageUrl": "/files/a/b.png",
        "thumbnailUrl": None,
    }
