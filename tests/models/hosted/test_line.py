"""When an endpoint may be called: the breaker and its reasons, by a clock of our own."""

import math
from datetime import UTC, datetime

import pytest

from models.hosted.faults import FAILURES_TO_OPEN, Fault, FaultKind, Patience, fault_of_status, retry_after
from models.hosted.line import Line, LineState

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(clock: Clock) -> Line:
    return Line(Patience(), clock, jitter=lambda: 1.0)


def broke(line: Line, times: int, kind: FaultKind = FaultKind.BROKE) -> None:
    for _ in range(times):
        line.note_fault(Fault(kind, "HTTP 500"))


def test_it_is_open_until_shown_otherwise(line: Line) -> None:
    assert line.report().state is LineState.UNTRIED
    assert (line.calls_allowed(5), line.room(20, live=0)) == (5, 20)


def test_several_faults_in_a_row_shut_it_and_an_answer_between_them_does_not(line: Line) -> None:
    broke(line, FAILURES_TO_OPEN - 1)
    line.note_answer()
    broke(line, FAILURES_TO_OPEN - 1)
    assert line.report().state is LineState.READY

    broke(line, 1)

    assert (line.report().state, line.report().reason, line.report().shut_for_s) == (LineState.AWAY, "HTTP 500", 15.0)
    assert (line.calls_allowed(5), line.room(20, live=0)) == (0, 0)
    assert line.is_given_up()


def test_when_its_time_is_over_one_picture_goes_as_a_probe(line: Line, clock: Clock) -> None:
    broke(line, FAILURES_TO_OPEN)
    clock.now_s += 15.1

    assert (line.calls_allowed(5), line.room(20, live=0), line.room(19, live=1)) == (1, 1, 0)
    assert not line.is_given_up()


def test_a_probe_that_is_answered_opens_it(line: Line, clock: Clock) -> None:
    broke(line, FAILURES_TO_OPEN)
    clock.now_s += 15.1
    line.note_answer()

    assert (line.report().state, line.report().reason, line.calls_allowed(5)) == (LineState.READY, None, 5)


def test_a_probe_that_fails_shuts_it_at_once_and_for_twice_as_long_up_to_a_limit(line: Line, clock: Clock) -> None:
    broke(line, FAILURES_TO_OPEN)
    shut = []
    for _ in range(7):
        clock.now_s = line.shut_until + 0.1
        broke(line, 1)
        shut.append(line.report().shut_for_s)

    assert shut == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]


def test_calls_that_were_on_their_way_when_it_was_shut_change_nothing(line: Line) -> None:
    broke(line, FAILURES_TO_OPEN + 3)

    assert line.report().shut_for_s == 15.0


def test_a_refused_token_shuts_it_for_good(line: Line, clock: Clock) -> None:
    line.note_fault(fault_of_status(401, {}))
    broke(line, 9)
    clock.now_s += 1e9

    told = line.report()
    assert (told.state, told.reason, told.shut_for_s) == (LineState.UNAUTHORISED, "HTTP 401", None)
    assert line.calls_allowed(5) == 0
    assert math.isinf(line.shut_until)


def test_an_empty_account_is_not_called_for_a_while(line: Line, clock: Clock) -> None:
    line.note_fault(fault_of_status(402, {}))
    assert (line.report().state, line.report().shut_for_s) == (LineState.EXHAUSTED, 900.0)
    assert line.is_given_up()
    clock.now_s += 901
    assert line.room(20, live=0) == 1


def test_waking_is_asked_again_and_again_and_keeps_its_pictures(line: Line, clock: Clock) -> None:
    pauses = []
    for _ in range(4):
        line.note_fault(fault_of_status(503, {}))
        pauses.append(line.report().shut_for_s)
        clock.now_s = line.shut_until
    assert pauses == [5.0, 10.0, 20.0, 30.0]
    assert (line.report().state, line.is_given_up(), line.calls_allowed(5)) == (LineState.WAKING, False, 1)


def test_a_rate_limit_is_kept_as_told_but_not_for_ever(line: Line) -> None:
    line.note_fault(fault_of_status(429, {"retry-after": "40"}))
    assert (line.report().state, line.report().shut_for_s) == (LineState.BUSY, 40.0)
    line.note_fault(fault_of_status(429, {"retry-after": "86400"}))
    assert line.report().shut_for_s == 120.0


def test_a_refusal_is_an_answer(line: Line) -> None:
    broke(line, FAILURES_TO_OPEN - 1)
    line.note_fault(fault_of_status(422, {}))
    broke(line, FAILURES_TO_OPEN - 1)

    assert line.report().state is LineState.READY


def test_pauses_grow_are_drawn_by_lot_and_end_somewhere(clock: Clock) -> None:
    fault = Fault(FaultKind.BROKE, "HTTP 500")
    least, most = (Line(Patience(), clock, jitter=lambda share=share: share) for share in (0.0, 1.0))  # type: ignore[misc]

    assert [most.pause_s(tries, fault) for tries in (1, 2, 3, 9)] == [1.0, 2.0, 4.0, 30.0]
    assert [least.pause_s(tries, fault) for tries in (1, 2, 3, 9)] == [0.5, 1.0, 2.0, 15.0]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sun, 29 Nov 2026 12:01:30 GMT", 90.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        (None, None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(told: str | None, seconds: float | None) -> None:
    assert retry_after(told, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, FaultKind.REFUSED) for status in (400, 410, 413, 415, 422)),
        *((status, FaultKind.UNAUTHORISED) for status in (401, 403)),
        (402, FaultKind.EXHAUSTED),
        *((status, FaultKind.AWAY) for status in (301, 302, 307, 404, 405, 418)),
        (429, FaultKind.BUSY),
        (503, FaultKind.WAKING),
        *((status, FaultKind.BROKE) for status in (204, 408, 500, 501, 502, 504, 599)),
    ],
)
def test_every_status_has_a_meaning(status: int, kind: FaultKind) -> None:
    assert fault_of_status(status, {}).kind is kind
