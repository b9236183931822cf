"""A hosted engine in a hurry, and an endpoint beside it that answers as each test wants."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.hosting import Endpoint, endpoint, paints

from models.hosted.backends import EndpointBackend, ServerlessBackend
from models.hosted.engine import HostedEngine
from models.hosted.faults import Patience
from models.profiles import TINY

HURRY = Patience(
    connect_s=5,
    call_s=20,
    picture_s=60,
    gather_s=0.02,
    first_pause_s=0.01,
    most_pause_s=0.02,
    waking_pause_s=0.02,
    most_retry_after_s=0.3,
    exhausted_s=60,
    open_s=60,
    most_open_s=60,
)
TOKEN = "hf_this-is-a-secret"

Open = Callable[..., HostedEngine]


@pytest.fixture
def served() -> Iterator[Endpoint]:
    """An endpoint with our handler's form, drawing by hash."""
    with endpoint() as server:
        yield server


@pytest.fixture
def painted() -> Iterator[Endpoint]:
    """An endpoint as the serverless text-to-image is."""
    with endpoint(paints()) as server:
        yield server


@pytest.fixture
def hosted(served: Endpoint) -> Iterator[Open]:
    """Opens engines on `served`, or on another url: hosted(calls_at_once=2, call_s=0.2)."""
    opened: list[HostedEngine] = []

    def open_(
        url: str | None = None, *, calls_at_once: int = 2, profile: str = "tiny", **patience: Any
    ) -> HostedEngine:
        hurry = replace(HURRY, **patience)
        backend = EndpointBackend(url or served.url, TOKEN, profile=profile, patience=hurry)
        opened.append(HostedEngine(TINY, backend, calls_at_once=calls_at_once, patience=hurry))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def serverless(painted: Endpoint) -> Iterator[Open]:
    """Opens engines without pose control on `painted`."""
    opened: list[HostedEngine] = []

    def open_(*, calls_at_once: int = 2, **patience: Any) -> HostedEngine:
        hurry = replace(HURRY, **patience)
        backend = ServerlessBackend(TOKEN, url=painted.url, patience=hurry)
        opened.append(HostedEngine(TINY, backend, calls_at_once=calls_at_once, patience=hurry))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()
