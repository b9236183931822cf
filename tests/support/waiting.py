"""Waiting for conditions with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

POLL_S = 0.02


def wait_until(
    condition: Callable[[], Value], *, timeout_s: float = 10.0, message: str | Callable[[], str] = ""
) -> Value:
    """Call `condition` until it answers something true, and return that. At the deadline the test fails: `message`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            told = message() if callable(message) else message
            raise AssertionError(f"not within {timeout_s:g} s: {told or condition!r} (last answer: {answer!r})")
        time.sleep(POLL_S)
