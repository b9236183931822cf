"""The native WebSocket that some clients still use: one generation, from its state now to its end.

Nobody logs in: who knows the unguessable id may follow it, from a page that may open sockets. That client never
reconnects, so it is told the whole state first. It stands on the same follower of SQL's events as Socket.IO does.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from api.live import LOOK_EVERY_S, UPDATE, Live
from api.origins import Origins
from api.service import Service
from api.wire import following as wire
from posegen.database import database_now
from posegen.errors import DatabaseAway, PosegenError, Unavailable
from posegen.snapshots import Snapshot, snapshot_of

log = structlog.get_logger()

NORMAL, REFUSED, BROKEN, TRY_AGAIN = 1000, 1008, 1011, 1013
"""Why a WebSocket is closed (RFC 6455 and its registry)."""


class Following:
    """The native WebSockets of one process."""

    def __init__(self, service: Service, live: Live, origins: Origins) -> None:
        self._service = service
        self._live = live
        self._origins = origins

    async def serve(self, websocket: WebSocket, generation_id: str) -> None:
        """Serve one client until the generation is final or the client is gone."""
        environ = {"HTTP_HOST": websocket.headers.get("host")}
        if not self._origins.allows_socket(websocket.headers.get("origin"), environ):
            await websocket.close(REFUSED)  # before it is accepted: the browser is answered 403
            return
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            await self._follow(websocket, generation_id)

    async def _follow(self, websocket: WebSocket, generation_id: str) -> None:
        try:
            outlet = _Outlet(self, websocket, generation_id)
            snapshot = await outlet.tell_state(patient=False)
        except PosegenError as error:
            await websocket.send_json(wire.refusal(generation_id, str(error)))
            await websocket.close(TRY_AGAIN if isinstance(error, Unavailable) else REFUSED)
            return
        if not outlet.ended.is_set():
            follow = self._live.follow(snapshot.generation.user_id, outlet, snapshot.event_id)
            tasks = [asyncio.create_task(task) for task in (follow, _read_nothing(websocket), outlet.ended.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await outlet.close()

    async def snapshot(self, generation_id: str, *, patient: bool) -> Snapshot:
        """Read the generation as it is now. Raises NotFound, and DatabaseAway unless it is to be waited for."""
        while True:
            try:
                return await asyncio.to_thread(self._read, generation_id)
            except DatabaseAway:
                if not patient:
                    raise
                await asyncio.sleep(LOOK_EVERY_S)

    def picture_messages(self, snapshot: Snapshot) -> Sequence[wire.Message]:
        """Return a message for each picture that is final so far."""
        return [wire.picture_message(row, self._service.links) for row in snapshot.pictures]

    def _read(self, generation_id: str) -> Snapshot:
        with self._service.database.reading() as session:
            return snapshot_of(session, generation_id, now=database_now(session))


class _Outlet:
    """One client; see api.live.Outlet. A send waits for a slow client, and what it is not told waits in SQL."""

    def __init__(self, following: Following, websocket: WebSocket, generation_id: str) -> None:
        self.ended = asyncio.Event()
        self._following = following
        self._websocket = websocket
        self._generation_id = generation_id
        self._told: set[str] = set()

    async def tell_state(self, *, patient: bool = True) -> Snapshot:
        """Tell how the generation is now, and its end if it is final."""
        snapshot = await self._following.snapshot(self._generation_id, patient=patient)
        for picture in self._following.picture_messages(snapshot):
            await self._send(picture)
        await self._send(wire.progress_message(snapshot))
        if snapshot.is_final:
            for last in wire.final_messages(snapshot):
                await self._send(last)
            self.ended.set()
        return snapshot

    async def opened(self) -> None:
        """Return at once: it was accepted before anything was followed."""

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        """Tell what concerns this generation; nothing happens when the client is gone."""
        with suppress(WebSocketDisconnect):
            if not self.ended.is_set():
                await self._tell(event, message)

    async def _tell(self, event: str, message: dict[str, Any]) -> None:
        if event == UPDATE and message["generationId"] == self._generation_id:
            if message["type"] in wire.FINAL_EVENTS:
                await self.tell_state()  # which has the counts of every ending
                return
            told = wire.event_message(message)
            if told is not None:
                await self._send(told)
        elif event == "resync":
            await self.tell_state()

    def has_room(self) -> bool:
        """Tell that a message may be sent; sending waits until the client has read enough."""
        return True

    async def close(self) -> None:
        """Send the client away, if it is still there."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(NORMAL if self.ended.is_set() else BROKEN)

    async def _send(self, told: wire.Message) -> None:
        if told["type"] == "pose_completed":
            pose_id = told["data"]["poseId"]
            if pose_id in self._told:
                return
            self._told.add(pose_id)
        await self._websocket.send_json(told)


async def _read_nothing(websocket: WebSocket) -> None:
    """Return when the client is gone; what it says is nothing to us."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
