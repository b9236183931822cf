"""Listening to the event channel of Redis, for whoever tells sockets. Beside posegen.bell the only user of redis.

What arrives is only a nudge, who has news and up to which number: the news themselves are read from SQL, so a message
that is lost, doubled or forged changes nothing that a customer sees.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from posegen.bell import ANSWER_S, CHANNEL_PREFIX
from posegen.crash_points import Act, around
from posegen.errors import BellAway

_LOOK_EVERY_S = 5.0


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
        redis = Redis.from_url(
            self._url, socket_connect_timeout=ANSWER_S, health_check_interval=10, retry=Retry(NoBackoff(), 0)
        )
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
