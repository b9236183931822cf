"""How often somebody may log in, register or order, counted in this process's memory.

The counts are per process and forgotten with it; they keep a mistake or a guesser from wearing the service out, and
protect no money (the ledger does that).
"""

from time import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.errors import TooManyRequests
from posegen.settings import Settings

ADDRESS_SHARE = 10
"""One address may try so many times the rate of one account before guessing over many accounts ends."""


class Rates:
    """The rates of one process. Each method counts one try, or raises TooManyRequests and counts nothing."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._login = parse(settings.login_rate)
        self._logins_of_address = _times(self._login, ADDRESS_SHARE)
        self._register = parse(settings.register_rate)
        self._generate = parse(settings.generate_rate)

    def count_login(self, address: str, email: str) -> None:
        """Count a login of one account from one address."""
        self._count(self._login, "login", address, email.strip().lower())
        self._count(self._logins_of_address, "login-address", address)

    def count_registration(self, address: str) -> None:
        """Count a registration from one address."""
        self._count(self._register, "register", address)

    def count_order(self, user_id: str) -> None:
        """Count an order of one user."""
        self._count(self._generate, "generate", user_id)

    def _count(self, rate: RateLimitItem, *key: str) -> None:
        if not self._limiter.hit(rate, *key):
            raise TooManyRequests(self._limiter.get_window_stats(rate, *key).reset_time - time())


def _times(rate: RateLimitItem, factor: int) -> RateLimitItem:
    return type(rate)(rate.amount * factor, rate.multiples)
