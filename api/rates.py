"""How often somebody may log in, register or order. They keep a mistake or a guesser from wearing the service out.

Every API process counts in Redis, so that all of them count together; while Redis is away each counts in its own
memory, from nothing: a rate may then be met by every process and again when Redis is back. No money hangs on it (the
ledger sees to that). A window moves with the clock: `5/minute` is five in any sixty seconds.

An order counts twice: as one order, and with its pictures. An order of more pictures than that rate allows at all is
not impossible, it only needs the whole window for itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import time
from typing import TypeVar

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from api.errors import TooManyRequests
from posegen.bell import Bell
from posegen.errors import BellAway
from posegen.settings import Settings

ADDRESS_SHARE = 10
"""One address may try so many times the rate of one account before guessing over many accounts ends."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rate and what is left of it. `frees_after_s` is when the oldest that counts leaves the window."""

    name: str
    rate: RateLimitItem
    remaining: int
    frees_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Charge:
    name: str
    rate: RateLimitItem
    key: str
    cost: int = 1


class Rates:
    """The rates of one process. Each method counts one try against all it concerns, or raises TooManyRequests."""

    def __init__(self, settings: Settings, bell: Bell) -> None:
        self._windows = _Windows(bell)
        self._login = parse(settings.login_rate)
        self._logins_of_address = _times(self._login, ADDRESS_SHARE)
        self._register = parse(settings.register_rate)
        self._orders = parse(settings.generate_rate)
        self._pictures = parse(settings.generate_pictures_rate)
        self._profile = parse(settings.profile_rate)
        self._upload = parse(settings.upload_rate)

    def count_login(self, address: str, email: str) -> None:
        """Count a login of one account from one address."""
        account = sha256(email.strip().lower().encode()).hexdigest()[:32]
        self._count(
            _Charge(name="logins", rate=self._login, key=f"{address}/{account}"),
            _Charge(name="logins-of-address", rate=self._logins_of_address, key=address),
        )

    def count_registration(self, address: str) -> None:
        """Count a registration from one address."""
        self._count(_Charge(name="registrations", rate=self._register, key=address))

    def count_order(self, user_id: str, *, pictures: int) -> Sequence[Standing]:
        """Count an order of one user and its pictures; return what is left."""
        return self._count(
            _Charge(name="orders", rate=self._orders, key=user_id),
            _Charge(name="pictures", rate=self._pictures, key=user_id, cost=min(pictures, self._pictures.amount)),
        )

    def count_profile_change(self, user_id: str) -> None:
        """Count a change of one user's profile."""
        self._count(_Charge(name="profile-changes", rate=self._profile, key=user_id))

    def count_upload(self, user_id: str) -> None:
        """Count a photo that one user uploads."""
        self._count(_Charge(name="uploads", rate=self._upload, key=user_id))

    def _count(self, *charges: _Charge) -> Sequence[Standing]:
        refused, standings = self._windows.ask(lambda windows: _charge(windows, charges))
        if refused:
            wait_s = max(standing.frees_after_s for standing in refused)
            raise TooManyRequests(wait_s, headers_of(standings))
        return standings


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers: each rate, and what is left of it."""
    policies = (f'"{one.name}";q={one.rate.amount};w={one.rate.get_expiry()}' for one in standings)
    left = (f'"{one.name}";r={one.remaining};t={math.ceil(one.frees_after_s)}' for one in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


class _Windows:
    """Where the tries are counted. Thread-safe."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        shared = RedisStorage("redis://", connection_pool=bell.redis.connection_pool, key_prefix="posegen-rates")
        self._shared = MovingWindowRateLimiter(shared)
        self._own = MovingWindowRateLimiter(MemoryStorage())

    def ask(self, question: Callable[[MovingWindowRateLimiter], Answer]) -> Answer:
        """Ask Redis, or our own memory while it is away."""
        try:
            with self._bell.lent():
                return question(self._shared)
        except BellAway:
            return question(self._own)


def _charge(
    windows: MovingWindowRateLimiter, charges: Sequence[_Charge]
) -> tuple[Sequence[Standing], Sequence[Standing]]:
    """Count all charges, or none of them. Return those that refuse, and the standing of all."""
    over = [one for one in charges if not windows.test(one.rate, one.name, one.key, cost=one.cost)]
    if not over:
        # Another request may have come between: then this one is refused although some of it was counted.
        over = [one for one in charges if not windows.hit(one.rate, one.name, one.key, cost=one.cost)]
    standings = {one.name: _standing(windows, one) for one in charges}
    return [standings[one.name] for one in over], list(standings.values())


def _standing(windows: MovingWindowRateLimiter, charge: _Charge) -> Standing:
    stats = windows.get_window_stats(charge.rate, charge.name, charge.key)
    return Standing(
        name=charge.name,
        rate=charge.rate,
        remaining=max(0, stats.remaining),
        frees_after_s=max(0.0, stats.reset_time - time()),
    )


def _times(rate: RateLimitItem, factor: int) -> RateLimitItem:
    return type(rate)(rate.amount * factor, rate.multiples)
