"""Previews at the sockets: to their user alone, never before the greeting, never late, and not to who declined."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.house import House
from support.listening import Listener, listening
from support.previewing import Clock, a_preview, webp
from support.serving import Served, serving, settings_for
from support.waiting import wait_until

from api.live import CONNECTED
from api.previews import PREVIEW, Previews
from api.sockets import PREVIEW_WINDOW_PACKETS, _Outlet
from posegen.bell import PREVIEW_PREFIX, Bell
from posegen.previews import MOST_MESSAGE_BYTES


@pytest.fixture
def bell(redis_url: str) -> Iterator[Bell]:
    made = Bell(redis_url)
    yield made
    made.close()


def watched(bell: Bell, *user_ids: str) -> None:
    wait_until(lambda: bell.who_watches(user_ids) == set(user_ids), message="somebody who listens")


def test_each_user_sees_their_own_previews_as_bytes_of_one_object(
    sqlite_served: Served, sqlite_house: House, bell: Bell
) -> None:
    sqlite_house.customer("bob")
    with ExitStack() as stack:
        ann, second, bob, declined = (
            stack.enter_context(listening(sqlite_served.url, {"token": sqlite_served.token(user_id), **more}))
            for user_id, more in (("ann", {}), ("ann", {"previews": True}), ("bob", {}), ("bob", {"previews": False}))
        )
        for each in (ann, second, bob, declined):
            each.wait_for("connected")
        watched(bell, "ann", "bob")
        forged = [b"nonsense", bytes(MOST_MESSAGE_BYTES + 1), a_preview(width=0).to_bytes(), b"\xff" * 5_000_000]
        for message in forged:
            bell.redis.publish(f"{PREVIEW_PREFIX}ann", message)
        bell.publish_preview("ann", a_preview(generation_id="anns").to_bytes())
        bell.publish_preview("bob", a_preview(generation_id="bobs").to_bytes())
        shown = {each: each.wait_for(PREVIEW) for each in (ann, second, bob)}
        declined.ping()
        declined.wait_for("pong")

    assert [shown[each]["generationId"] for each in (ann, second, bob)] == ["anns", "anns", "bobs"]
    assert {len(each.previews) for each in (ann, second, bob)} == {1}
    assert declined.previews == []
    image = shown[ann]["image"]
    assert isinstance(image, bytes)
    with Image.open(io.BytesIO(image)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (32, 24))
    assert {name: value for name, value in shown[ann].items() if name != "image"} == {
        "generationId": "anns",
        "variationKey": "standing-v0",
        "poseLibraryId": "standing",
        "step": 3,
        "steps": 8,
        "width": 32,
        "height": 24,
        "mimeType": "image/webp",
    }


def test_nobody_is_watched_when_previews_are_off_or_declined_or_the_socket_is_gone(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path, bell: Bell
) -> None:
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url)) as on:
        with listening(on.url, {"token": on.token("ann")}):
            watched(bell, "ann")
        wait_until(lambda: bell.who_watches(["ann"]) == set())
        with listening(on.url, {"token": on.token("ann"), "previews": False}) as declined:
            declined.wait_for("connected")
            assert bell.who_watches(["ann"]) == set()
    with (
        serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url, previews="off")) as off,
        listening(off.url, {"token": off.token("ann")}) as ann,
    ):
        ann.wait_for("connected")
        bell.publish_preview("ann", a_preview().to_bytes())
        ann.ping()
        ann.wait_for("pong")
        assert bell.who_watches(["ann"]) == set()
    assert ann.previews == []


def test_previews_among_many_events_tear_no_message_apart(
    sqlite_served: Served, sqlite_house: House, bell: Bell
) -> None:
    """A binary event is two packets; nothing may come between them."""
    with listening(sqlite_served.url, {"token": sqlite_served.token("ann")}) as ann:
        ann.wait_for("connected")
        watched(bell, "ann")
        wait_until(lambda: _flood(ann, bell), timeout_s=20)
    pongs = [message for event, message in ann.heard if event == "pong"]
    assert all(isinstance(pong["timestamp"], str) for pong in pongs)
    assert {preview["image"] for preview in ann.previews} == {webp()}


def _flood(ann: Listener, bell: Bell) -> bool:
    for _ in range(5):
        ann.ping()
        bell.publish_preview("ann", a_preview().to_bytes())
        ann.ping()
    return len(ann.previews) >= 4


class FakeScreen:
    def __init__(self) -> None:
        self.ready = True
        self.shown: list[int] = []

    def is_ready(self) -> bool:
        return self.ready

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        assert event == PREVIEW
        self.shown.append(message["step"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def previews(clock: Clock) -> Previews:
    return Previews(source=None, clock=clock)  # type: ignore[arg-type]


def show(previews: Previews, user_id: str, *steps: int) -> None:
    for step in steps:
        asyncio.run(previews.show(user_id, a_preview(step=step)))


def test_a_user_is_shown_two_a_second_over_all_workers_and_sockets(previews: Previews, clock: Clock) -> None:
    first, second, other = FakeScreen(), FakeScreen(), FakeScreen()
    for user_id, screen in (("ann", first), ("ann", second), ("bob", other)):
        previews.add(user_id, screen)

    show(previews, "ann", 1, 2, 3, 4)
    show(previews, "bob", 5)
    clock.now_s += 0.99
    show(previews, "ann", 6)
    clock.now_s += 0.02
    show(previews, "ann", 7)

    assert first.shown == second.shown == [1, 2, 7]
    assert other.shown == [5]


def test_who_is_not_ready_misses_previews_and_uses_up_nobodys_turn(previews: Previews) -> None:
    slow, quick = FakeScreen(), FakeScreen()
    previews.add("ann", slow)
    slow.ready = False
    show(previews, "ann", 1, 2, 3)
    previews.add("ann", quick)
    show(previews, "ann", 4)
    slow.ready = True
    show(previews, "ann", 5)
    previews.remove("ann", quick)
    previews.remove("ann", quick)

    assert (slow.shown, quick.shown) == ([5], [4, 5])


class FakeServer:
    """A Socket.IO server with one socket, as far as an outlet asks it."""

    def __init__(self) -> None:
        self.manager = self.eio = self.queue = self
        self.sockets = {"e1": self}
        self.unread = 0

    def eio_sid_from_sid(self, *_: str) -> str:
        return "e1"

    def qsize(self) -> int:
        return self.unread

    async def emit(self, *_: Any, **__: Any) -> None:
        pass


def test_a_socket_is_ready_once_it_was_greeted_and_while_it_has_read_nearly_all() -> None:
    server = FakeServer()
    outlet = _Outlet(server, "s1")
    ready = [outlet.is_ready()]
    asyncio.run(outlet.emit(CONNECTED, {}))
    ready.append(outlet.is_ready())
    server.unread = PREVIEW_WINDOW_PACKETS
    ready.append(outlet.is_ready())

    assert ready == [False, True, False]


def test_a_client_that_reads_nothing_is_sent_few_previews_and_none_before_its_greeting(
    sqlite_served: Served, bell: Bell
) -> None:
    """Over HTTP polling, where the client reads only when it asks."""
    from .test_slow_clients import Poller

    poller = Poller(sqlite_served.client(), {"token": sqlite_served.token("ann")})
    sent = 0

    def flood() -> bool:
        nonlocal sent
        sent += bool(bell.who_watches(["ann"]))
        bell.publish_preview("ann", a_preview().to_bytes())
        return sent > 150

    wait_until(flood, timeout_s=20)
    packets = poller.read()

    events = [packet for packet in packets if "pose-generation-preview" in packet]
    assert packets[0].startswith("40/pose-generator,")
    assert '"connected"' in packets[1]
    assert 1 <= len(events) <= 3
