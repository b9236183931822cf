"""A client that does not read must not make the server grow, and must lose nothing by it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete
from support.house import House
from support.polling import NAMESPACE, Poller
from support.serving import NOBODY_LISTENS, Served

from api.live import EVENTS_A_READ, ROOM_EVERY_S, UPDATE, Live
from api.sockets import WINDOW_PACKETS
from posegen.channel import Channel
from posegen.storage import Links
from posegen.tables import User, UserEvent

EVENTS = 500


@pytest.fixture(autouse=True)
def _events(sqlite_house: House) -> None:
    """Ann has 500 events."""
    with sqlite_house.database.writing() as session:
        for event_id in range(1, EVENTS + 1):
            session.add(
                UserEvent(user_id="ann", event_id=event_id, type="progress", payload={}, created_at=datetime.now(UTC))
            )
        session.get_one(User, "ann").event_counter = EVENTS


def numbers(packets: list[str]) -> list[int]:
    start = f"42{NAMESPACE},"
    told = [json.loads(packet.removeprefix(start)) for packet in packets if packet.startswith(start)]
    return [message["eventId"] for event, message in told if event == UPDATE]


@pytest.fixture
def poller(sqlite_served: Served) -> Poller:
    auth = {"token": sqlite_served.token("ann"), "lastEventId": 0}
    return Poller(sqlite_served.client(), auth)


def test_who_does_not_read_is_sent_a_window_and_gets_the_rest_by_reading(poller: Poller) -> None:
    batches = []
    while sum(map(len, batches)) < EVENTS:
        batches.append(numbers(poller.read()))

    assert [number for batch in batches for number in batch] == list(range(1, EVENTS + 1))
    assert max(map(len, batches)) <= WINDOW_PACKETS


def test_who_pings_without_reading_is_not_answered_for_ever(poller: Poller) -> None:
    for _ in range(20):
        poller.send(*[f'42{NAMESPACE},["ping"]'] * 16)

    waiting = poller.read()

    assert len(waiting) <= 2 * WINDOW_PACKETS


class FullOutlet:
    """A socket whose client has stopped reading."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.room = 3

    async def opened(self) -> None:
        pass

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        self.sent.append(event)
        if event == UPDATE:
            self.room -= 1

    def has_room(self) -> bool:
        return self.room > 0

    async def close(self) -> None:
        self.sent.append("close")


@asynccontextmanager
async def following(house: House, outlet: FullOutlet) -> AsyncIterator[None]:
    """Follow ann's events from the first one on, into this outlet."""
    live = Live(house.database, Links("secret", life_s=60), Channel(NOBODY_LISTENS))
    task = asyncio.create_task(live.follow("ann", outlet, 0))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_events_wait_in_sql_while_a_socket_has_no_room(sqlite_house: House) -> None:
    outlet = FullOutlet()

    async def follow() -> None:
        async with following(sqlite_house, outlet):
            await until(lambda: outlet.sent.count(UPDATE) >= 3)
            await asyncio.sleep(4 * ROOM_EVERY_S)  # it looks for room again and again, and there is none
            assert outlet.sent.count(UPDATE) == 3
            outlet.room = EVENTS
            await until(lambda: outlet.sent.count(UPDATE) == EVENTS)

    asyncio.run(follow())

    assert outlet.sent[0] == "connected"


def test_who_reads_too_late_is_told_to_read_the_state_again(sqlite_house: House) -> None:
    outlet = FullOutlet()

    async def follow() -> None:
        async with following(sqlite_house, outlet):
            await until(lambda: outlet.sent.count(UPDATE) >= 3)
            with sqlite_house.database.writing() as session:
                session.execute(delete(UserEvent).where(UserEvent.event_id <= EVENTS - 100))
            outlet.room = EVENTS
            await until(lambda: "resync" in outlet.sent)

    asyncio.run(follow())

    assert outlet.sent == ["connected", *[UPDATE] * EVENTS_A_READ, "resync"]
