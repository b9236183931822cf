"""How often one user may do one kind of thing, counted in this process's memory.

Like the rates of logins it keeps a mistake from wearing the service out; the counts are forgotten with the process.
"""

from time import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.errors import TooManyRequests


class Pace:
    """One kind of thing. `rate` is written like 10/minute."""

    def __init__(self, rate: str) -> None:
        self._rate = parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, user_id: str) -> None:
        """Count one try of the user, or raise TooManyRequests and count nothing."""
        if not self._limiter.hit(self._rate, user_id):
            raise TooManyRequests(self._limiter.get_window_stats(self._rate, user_id).reset_time - time())
