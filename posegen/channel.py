"""Listening to the channels of Redis, for whoever tells sockets. Beside posegen.bell the only user of redis.

What arrives is only a nudge, who has news and up to which number: the news themselves are read from SQL, so a message
that is lost, doubled or forged changes nothing that a customer sees. Previews have channels of their own, one for
each user, subscribed to only while somebody wants them, so that workers make none for nobody.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from posegen.bell import ANSWER_S, CHANNEL_PREFIX, PREVIEW_PREFIX
from posegen.crash_points import Act, around
from posegen.errors import BellAway
from posegen.previews import PreviewMessage, read_preview

_LOOK_EVERY_S = 5.0
_WANTED_EVERY_S = 0.2
"""How soon a new wish for previews is heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nudge:
    """A user has news, up to this number."""

    user_id: str
    event_id: int


class Channel:
    """One subscription to the events of all users."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def listen(self) -> AsyncIterator[Nudge]:
        """Yield nudges for as long as Redis is there. Raises BellAway; call again to subscribe again."""
        redis = _connect(self._url)
        try:
            async with redis.pubsub() as subscription:
                with around(Act.REDIS_SUBSCRIBE):
                    await subscription.psubscribe(f"{CHANNEL_PREFIX}*")
                while True:
                    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=_LOOK_EVERY_S)
                    nudge = _nudge_of(message)
                    if nudge is not None:
                        yield nudge
        except (RedisError, OSError) as error:
            raise BellAway from error
        finally:
            await redis.aclose()


class PreviewChannel:
    """One subscription to the previews of those users that somebody watches."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def listen(self, watched: Callable[[], Set[str]]) -> AsyncIterator[tuple[str, PreviewMessage]]:
        """Yield user ids and previews, of whoever `watched` names at the time. Raises BellAway; then call again."""
        redis = _connect(self._url)
        heard: set[str] = set()
        try:
            async with redis.pubsub() as subscription:
                while True:
                    wanted = set(watched())
                    if new := wanted - heard:
                        await subscription.subscribe(*map(_preview_channel, new))
                    if gone := heard - wanted:
                        await subscription.unsubscribe(*map(_preview_channel, gone))
                    heard = wanted
                    if not subscription.subscribed:
                        await asyncio.sleep(_WANTED_EVERY_S)
                        continue
                    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=_WANTED_EVERY_S)
                    preview = _preview_of(message)
                    if preview is not None:
                        yield preview
        except (RedisError, OSError) as error:
            raise BellAway from error
        finally:
            await redis.aclose()


def _connect(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=ANSWER_S, health_check_interval=10, retry=Retry(NoBackoff(), 0))


def _preview_channel(user_id: str) -> str:
    return f"{PREVIEW_PREFIX}{user_id}"


def _preview_of(message: dict[str, Any] | None) -> tuple[str, PreviewMessage] | None:
    """Read a message; one that is not ours is nobody's preview."""
    if message is None or message["type"] != "message":
        return None
    preview = read_preview(message["data"])
    user_id = message["channel"].decode(errors="replace").removeprefix(PREVIEW_PREFIX)
    return None if preview is None else (user_id, preview)


def _nudge_of(message: dict[str, Any] | None) -> Nudge | None:
    """Read a message; one that is not ours is nobody's news."""
    if message is None or message["type"] != "pmessage":
        return None
    user_id = message["channel"].decode(errors="replace").removeprefix(CHANNEL_PREFIX)
    try:
        told = json.loads(message["data"])
    except ValueError:
        return None
    number = told.get("eventId") if isinstance(told, dict) else None
    return Nudge(user_id=user_id, event_id=number) if isinstance(number, int) else None
