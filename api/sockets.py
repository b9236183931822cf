"""The Socket.IO side: who may open a socket, and how a message gets into one.

One server answers at two paths, since older clients use their own. The connection is authorised by the token in `auth`
(never in the address), and by the page's Origin, by the same rule as CORS. When the login expires or the password is
changed, the sockets of that login are closed within seconds; who has a new login comes back.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Caller, caller_of
from api.errors import Unauthenticated
from api.live import CONNECTED, ClientGone, Live
from api.origins import Origins
from api.previews import Previews
from api.service import Service
from api.wire.base import iso
from posegen.errors import DatabaseAway

log = structlog.get_logger()

NAMESPACE = "/pose-generator"
PATHS = ("/socket.io/", "/pose-generator-ws/")
MOST_PACKET_BYTES = 64 * 1024
"""Clients only send a login and pings."""
WINDOW_PACKETS = 64
"""So many packets may wait for a client to read; the rest stays in SQL."""
PREVIEW_WINDOW_PACKETS = 4
"""With more than so many unread a preview would be late, and late ones are worth nothing."""
LOG_IN_WITHIN_S = 20.0
"""A connection that does not log in is closed after so long; the library would keep it for as long as it answers."""
STRANGERS_EVERY_S = 2.0
_OPEN_WITHIN_S = 10.0
_OPENED_EVERY_S = 0.005


class Sockets:
    """The Socket.IO server of one process."""

    def __init__(self, service: Service, live: Live, origins: Origins, previews: Previews) -> None:
        self._service = service
        self._live = live
        self._previews = previews
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.server = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins=origins.allows_socket,
            cors_credentials=not origins.anyone,
            max_http_buffer_size=MOST_PACKET_BYTES,
            async_handlers=False,  # a client's packets are handled one by one, so a flood of them waits in its own line
        )
        self.server.on("connect", self._connect, namespace=NAMESPACE)
        self.server.on("disconnect", self._disconnect, namespace=NAMESPACE)
        self.server.on("ping", self._ping, namespace=NAMESPACE)

    def beside(self, app: ASGIApp) -> ASGIApp:
        """Return an app that serves sockets at PATHS and everything else by `app`."""

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] in {"http", "websocket"} and f"{scope['path'].rstrip('/')}/".startswith(PATHS):
                await self.server.handle_request(scope, receive, send)
            else:
                await app(scope, receive, send)

        return both

    async def close(self) -> None:
        """Stop telling, and the server's own tasks."""
        for task in self._tasks.values():
            task.cancel()
        await self.server.shutdown()

    async def close_strangers(self) -> None:
        """Close connections that have not logged in, or whose login has ended, within LOG_IN_WITHIN_S; for ever."""
        since_s: dict[str, float] = {}
        while True:
            await asyncio.sleep(STRANGERS_EVERY_S)
            try:
                since_s = await self._close_strangers(since_s)
            except Exception:  # the outermost frame of a loop that must outlive every surprise
                log.exception("socket.strangers_failed")

    async def _close_strangers(self, since_s: Mapping[str, float]) -> dict[str, float]:
        """Close those that have been strangers for long enough; return since when each is one."""
        now = monotonic()
        known = set(self.server.manager.rooms.get(NAMESPACE, {}).get(None, {}).values())
        strangers = {sid: socket for sid, socket in self.server.eio.sockets.items() if sid not in known}
        seen_s = {sid: since_s.get(sid, now) for sid in strangers}
        for sid, socket in strangers.items():
            if now - seen_s[sid] >= LOG_IN_WITHIN_S:
                await socket.close(wait=False)
        return seen_s

    async def _connect(self, sid: str, _environ: Mapping[str, Any], auth: object) -> None:
        login = auth if isinstance(auth, dict) else {}
        caller = await self._caller(login.get("token"))
        await self.server.enter_room(sid, f"user-{caller.id}", namespace=NAMESPACE)
        outlet = _Outlet(self.server, sid)
        is_watching = login.get("previews") is not False
        telling = self._tell(caller, outlet, _number(login.get("lastEventId")), is_watching=is_watching)
        task = self._tasks[sid] = asyncio.create_task(telling)
        task.add_done_callback(lambda _done: self._tasks.pop(sid, None))

    async def _tell(self, caller: Caller, outlet: "_Outlet", last_event_id: int | None, *, is_watching: bool) -> None:
        """Tell one socket events, and show it previews if it wants them, until this task is cancelled."""

        def login_ends(valid_from: datetime | None) -> bool:
            return valid_from != caller.logins_valid_from or time() >= caller.expires_at_s

        if is_watching:
            self._previews.add(caller.id, outlet)
        try:
            await self._live.follow(caller.id, outlet, last_event_id, login_ends=login_ends)
        finally:
            self._previews.remove(caller.id, outlet)

    async def _caller(self, token: object) -> Caller:
        """Return who is connecting. Raises Refused, which the client sees as `connect_error`."""
        if not isinstance(token, str) or not token:
            raise Refused("Please log in: send auth: {token}.")
        try:
            return await asyncio.to_thread(caller_of, self._service, token)
        except (Unauthenticated, DatabaseAway) as error:
            raise Refused(str(error)) from error
        except Exception as error:
            log.exception("socket.connect_failed")
            raise Refused("Something went wrong on our side; please try again.") from error

    async def _disconnect(self, sid: str, _reason: str) -> None:
        task = self._tasks.get(sid)
        if task is not None:
            task.cancel()

    async def _ping(self, sid: str, *_ignored: object) -> None:
        outlet = _Outlet(self.server, sid)
        if outlet.has_room():  # who pings without reading is not answered
            await outlet.emit("pong", {"timestamp": iso(datetime.now(UTC))})


class _Outlet:
    """One client's socket; see api.live.Outlet and api.previews.Screen."""

    def __init__(self, server: Any, sid: str) -> None:
        self._server = server
        self._sid = sid
        self._is_greeted = False

    async def opened(self) -> None:
        """Return once the client was told that it is connected. Raises ClientGone when it went away before.

        Whoever goes while the login is checked is still let in by the library, which tells nobody of it afterwards.
        """
        try:
            async with asyncio.timeout(_OPEN_WITHIN_S):
                while not self._server.manager.is_connected(self._sid, NAMESPACE):
                    await asyncio.sleep(_OPENED_EVERY_S)
        except TimeoutError as error:
            raise ClientGone from error
        if self._is_gone():
            raise ClientGone

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        """Queue a message for the client; nothing happens when it is gone."""
        await self._server.emit(event, message, to=self._sid, namespace=NAMESPACE)
        self._is_greeted = self._is_greeted or event == CONNECTED

    def has_room(self) -> bool:
        """Tell whether fewer than WINDOW_PACKETS wait to be read."""
        return self._unread() < WINDOW_PACKETS

    def is_ready(self) -> bool:
        """Tell whether the client was greeted and fewer than PREVIEW_WINDOW_PACKETS wait to be read."""
        return self._is_greeted and self._unread() < PREVIEW_WINDOW_PACKETS

    def _unread(self) -> int:
        socket = self._engine_socket()
        return 0 if socket is None else int(socket.queue.qsize())

    def _is_gone(self) -> bool:
        socket = self._engine_socket()
        return socket is None or socket.closing or socket.closed

    def _engine_socket(self) -> Any:
        engine_sid = self._server.manager.eio_sid_from_sid(self._sid, NAMESPACE)
        return self._server.eio.sockets.get(engine_sid)

    async def close(self) -> None:
        """Send the client away, or forget one that is gone."""
        if self._is_gone():
            await self._server.manager.disconnect(self._sid, NAMESPACE)
        else:
            await self._server.disconnect(self._sid, namespace=NAMESPACE)


def _number(value: object) -> int | None:
    """Read `lastEventId`: a number, or its digits; None when the client has seen nothing. -1 (never) for rubbish."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 18:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return -1
