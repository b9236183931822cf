"""When the start is asked to stop: the first signal counts, its echo does not, a second wish hurries."""

import os
import signal
from collections.abc import Iterator

import pytest
import service
from service import StopSignal
from support.waiting import wait_until

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield StopSignal()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_each_signal_asks_to_stop(stop: StopSignal, number: signal.Signals) -> None:
    before = stop.asked()
    os.kill(os.getpid(), number)
    wait_until(stop.asked)

    assert (before, stop.hurried()) == (False, False)


def test_the_echo_of_a_signal_does_not_hurry(stop: StopSignal) -> None:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
    wait_until(stop.asked)

    assert not stop.hurried()


def test_a_second_wish_hurries(stop: StopSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_SECOND_WISH_AFTER_S", 0.0)
    os.kill(os.getpid(), signal.SIGINT)
    wait_until(stop.asked)
    os.kill(os.getpid(), signal.SIGINT)

    wait_until(stop.hurried)


def test_under_nohup_a_lost_terminal_stops_nothing() -> None:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGHUP)
    asked = stop.asked()
    for number, handler in before.items():
        signal.signal(number, handler)

    assert not asked
