"""Showing customers what is being drawn: previews from Redis to the sockets of their user, at once or not at all.

Unlike events nothing here is kept or repeated. A user gets two a second whatever number of workers draw for them; a
socket that has something unread gets none, nor one that has not been greeted yet or that declined them. Only while a
user has a socket that wants previews does anybody listen for them, by which workers know that somebody watches.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Set
from typing import Any, Protocol

import structlog

from posegen.errors import BellAway
from posegen.previews import PreviewMessage, Turnstile

log = structlog.get_logger()

PREVIEW = "pose-generation-preview"
AGAIN_AFTER_S = 1.0


class Screen(Protocol):
    """One open socket, as far as previews concern it."""

    def is_ready(self) -> bool:
        """Tell whether the client was greeted and has read all it was sent, or nearly."""

    async def emit(self, event: str, message: dict[str, Any]) -> None:
        """Queue a message for the client."""


class Source(Protocol):
    """Where previews come from; see posegen.channel.PreviewChannel."""

    def listen(self, watched: Callable[[], Set[str]]) -> AsyncIterator[tuple[str, PreviewMessage]]:
        """Yield user ids and previews of whoever `watched` names. Raises BellAway."""


class Previews:
    """The sockets of this process that want previews."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._turnstile = Turnstile(clock)
        self._screens: dict[str, set[Screen]] = {}

    def add(self, user_id: str, screen: Screen) -> None:
        """Show this socket its user's previews from now on."""
        self._screens.setdefault(user_id, set()).add(screen)

    def remove(self, user_id: str, screen: Screen) -> None:
        """Show this socket no more; one that was never added is no trouble."""
        screens = self._screens.get(user_id, set())
        screens.discard(screen)
        if not screens:
            self._screens.pop(user_id, None)

    async def listen(self) -> None:
        """Show what workers send, for ever; while Redis is away there is nothing to show."""
        told_away = False
        while True:
            try:
                async for user_id, preview in self._source.listen(self._screens.keys):
                    told_away = False
                    await self.show(user_id, preview)
            except BellAway as error:
                if not told_away:
                    log.warning("previews.redis_away", cause=repr(error.__cause__))
                told_away = True
            except Exception:
                log.exception("previews.listen_failed")
            await asyncio.sleep(AGAIN_AFTER_S)

    async def show(self, user_id: str, preview: PreviewMessage) -> None:
        """Emit a preview to those sockets of the user that are ready, unless the user was shown enough just now."""
        ready = [screen for screen in self._screens.get(user_id, ()) if screen.is_ready()]
        if not ready or not self._turnstile.passes(user_id):
            return
        message = preview.on_the_wire()
        for screen in ready:
            await screen.emit(PREVIEW, message)
