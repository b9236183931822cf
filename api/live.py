"""Telling each open socket what its user has not been told yet, in order and without gaps.

Every socket has a cursor, the number of the last event it was sent, and one task that reads SQL after it. Redis only
says that there is news; a slow look at SQL says it too, so a lost message or an outage of Redis costs two seconds and
nothing else. A socket whose client does not read is not sent more: what it has not been told stays in SQL.
The same look closes sockets whose login has expired, or was ended by a change of the password in whatever process.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from prometheus_client import Gauge, Histogram

from posegen.accounts import logins_valid_from
from posegen.channel import Channel
from posegen.database import Database
from posegen.errors import BellAway, DatabaseAway
from posegen.events import EventMessage, events_after, is_replayable, newest_event_id, newest_event_ids
from posegen.storage import Links
from posegen.tallies import REGISTRY

log = structlog.get_logger()

UPDATE = "pose-generation-update"
CONNECTED = "connected"
LOOK_EVERY_S = 2.0
"""How often SQL is asked for news that Redis did not tell of."""
ROOM_EVERY_S = 0.05
EVENTS_A_READ = 200

SOCKETS = Gauge("posegen_sockets_open", "Sockets that are told events.", registry=REGISTRY)
EVENT_LAG = Histogram(
    "posegen_event_lag_seconds",
    "From the database's time of an event to its sending into a socket; what was missed and is repeated is left out.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)


class ClientGone(Exception):
    """The client went away while it was let in."""


class Outlet(Protocol):
    """One open socket, as far as telling concerns it."""

    async def opened(self) -> None:
        """Return once the client knows that it is connected. Raises ClientGone."""

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        """Queue a message for the client."""

    def has_room(self) -> bool:
        """Tell whether the client has read enough to be sent more."""

    async def close(self) -> None:
        """Send the client away; it may come back with its cursor."""


LoginEnds = Callable[[datetime | None], bool]
"""Whether a login is over, now that its user's logins are valid from then (None: for ever)."""


def never(_valid_from: datetime | None) -> bool:
    """Be the LoginEnds of a socket that nobody logged in for."""
    return False


class Follower:
    """One socket's place in its user's events. `last_event_id` is what the client says it has seen, None if new."""

    def __init__(
        self, live: "Live", user_id: str, outlet: Outlet, last_event_id: int | None, login_ends: LoginEnds
    ) -> None:
        self.user_id = user_id
        self.cursor = 0
        self.login_ends = login_ends
        self._live = live
        self._outlet = outlet
        self._last_event_id = last_event_id
        self._news = asyncio.Event()
        self._old_up_to = 0

    def nudge(self, event_id: int) -> None:
        """Say that the user has events up to this number."""
        if event_id > self.cursor:
            self._news.set()

    async def send_away(self) -> None:
        """Close the socket: its login is over."""
        log.info("live.login_ended", user_id=self.user_id)
        await self._outlet.close()

    async def run(self) -> None:
        """Greet, replay, then tell what is new, until the socket is gone (then this task is cancelled)."""
        try:
            await self._outlet.opened()
            await self._begin()
            while True:
                await self._tell_news()
                await self._news.wait()
        except ClientGone:
            await self._outlet.close()
        except Exception:
            log.exception("live.follower_failed", user_id=self.user_id)
            await self._outlet.close()

    async def _begin(self) -> None:
        newest, replayable = await self._read(self._live.place, self.user_id, self._last_event_id)
        self._old_up_to = newest
        missed = self._last_event_id is not None and not replayable
        self.cursor = self._last_event_id if self._last_event_id is not None and replayable else newest
        greeting = {"message": "Connected to live updates.", "userId": self.user_id, "eventId": self.cursor}
        await self._outlet.emit(CONNECTED, greeting)
        if missed:
            await self._resync()

    async def _tell_news(self) -> None:
        full = True
        while full:
            self._news.clear()
            events: Sequence[EventMessage] = await self._read(self._live.after, self.user_id, self.cursor)
            if events and events[0].event_id != self.cursor + 1:
                self.cursor = events[-1].event_id
                await self._resync()  # it slept for longer than events are kept
                continue
            for event in events:
                while not self._outlet.has_room():
                    await asyncio.sleep(ROOM_EVERY_S)
                await self._outlet.emit(UPDATE, event.on_the_wire(self._live.links.url))
                self.cursor = event.event_id
                if event.event_id > self._old_up_to:
                    EVENT_LAG.observe(max(0.0, (datetime.now(UTC) - event.created_at).total_seconds()))
            full = len(events) == EVENTS_A_READ

    async def _resync(self) -> None:
        message = "Some updates are too old to be repeated; please read the state again."
        await self._outlet.emit("resync", {"message": message, "eventId": self.cursor})

    async def _read(self, read: Any, *arguments: Any) -> Any:
        """Read SQL in a thread, again and again while the database is away."""
        while True:
            try:
                return await asyncio.to_thread(read, *arguments)
            except DatabaseAway:
                await asyncio.sleep(LOOK_EVERY_S)


class Live:
    """All open sockets of this process."""

    def __init__(self, database: Database, links: Links, channel: Channel) -> None:
        self.links = links
        self._database = database
        self._channel = channel
        self._followers: dict[str, set[Follower]] = {}

    async def follow(
        self, user_id: str, outlet: Outlet, last_event_id: int | None, *, login_ends: LoginEnds = never
    ) -> None:
        """Tell one socket its user's events until this task is cancelled, or the login ends and the socket with it."""
        follower = Follower(self, user_id, outlet, last_event_id, login_ends)
        self._followers.setdefault(user_id, set()).add(follower)
        SOCKETS.inc()
        try:
            await follower.run()
        finally:
            SOCKETS.dec()
            self._followers[user_id].discard(follower)
            if not self._followers[user_id]:
                del self._followers[user_id]

    async def listen(self) -> None:
        """Nudge followers as Redis tells of news, for ever; while Redis is away, try again every second or so."""
        told_away = False
        while True:
            try:
                async for nudge in self._channel.listen():
                    told_away = False
                    self._nudge(nudge.user_id, nudge.event_id)
            except BellAway as error:
                if not told_away:
                    log.warning("live.redis_away", cause=repr(error.__cause__))
                told_away = True
            except Exception:
                log.exception("live.listen_failed")
            await asyncio.sleep(1.0)

    async def look(self) -> None:
        """Nudge followers whose news Redis did not tell, and close those whose login ended, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._followers:
                continue
            try:
                newest, valid_from = await asyncio.to_thread(self._state, list(self._followers))
                await self._end_logins(valid_from)
            except DatabaseAway:
                continue  # the reconciler's loop says so
            except Exception:
                log.exception("live.look_failed")
                continue
            for user_id, event_id in newest.items():
                self._nudge(user_id, event_id)

    def place(self, user_id: str, last_event_id: int | None) -> tuple[int, bool]:
        """Read a user's newest number, and whether everything after `last_event_id` can still be told."""
        with self._database.reading() as session:
            replayable = last_event_id is not None and is_replayable(session, user_id, last_event_id)
            return newest_event_id(session, user_id), replayable

    def after(self, user_id: str, event_id: int) -> Sequence[EventMessage]:
        """Read a user's next events."""
        with self._database.reading() as session:
            return events_after(session, user_id, event_id, limit=EVENTS_A_READ)

    def _state(self, user_ids: list[str]) -> tuple[dict[str, int], dict[str, datetime | None]]:
        with self._database.reading() as session:
            return newest_event_ids(session, user_ids), logins_valid_from(session, user_ids)

    async def _end_logins(self, valid_from: dict[str, datetime | None]) -> None:
        for user_id, since in valid_from.items():
            ended = [follower for follower in self._followers.get(user_id, ()) if follower.login_ends(since)]
            for follower in ended:
                await follower.send_away()

    def _nudge(self, user_id: str, event_id: int) -> None:
        for follower in self._followers.get(user_id, ()):
            follower.nudge(event_id)
