"""What a hosted engine does around its calls: how many at once, together, again, given up, and woken."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
from support.hosting import Endpoint, cuts_off, draws, endpoint, hangs, says, trickles
from support.waiting import wait_until

from models.errors import BadPicture, CardFailed, LorasRefused, PoseRefused
from models.hosted.engine import HostedEngine
from models.hosted.line import LineState
from models.loras import Lora
from models.requests import Cancelled, Failed, Finished, Returned

Open = Callable[..., HostedEngine]
WAIT_S = 20


def test_pictures_of_one_size_share_calls_of_four_and_others_go_by_themselves(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    engine = hosted(calls_at_once=3)
    for index in range(6):
        engine.submit(ask(f"small {index}"))
    engine.submit(ask("wide", width=256, height=192))
    engine.submit(ask("styled", loras=(Lora(name="ink"),)))

    outcomes = drain(engine)[0]

    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    assert sorted(served.pictures_asked()) == [1, 1, 2, 4]


def test_no_more_calls_are_on_their_way_than_were_allowed(served: Endpoint, hosted: Open, ask: Any, drain: Any) -> None:
    go_on = threading.Event()
    served.then = hangs(go_on)
    engine = hosted(calls_at_once=3)
    for index in range(20):
        engine.submit(ask(f"k{index}", seed=index))
    wait_until(lambda: served.most_at_once == 3, timeout_s=WAIT_S)
    assert engine.free_rows() == 0
    go_on.set()

    outcomes = drain(engine)[0]

    assert len(outcomes) == 20
    assert served.most_at_once == 3


def test_the_token_and_the_pose_travel_and_the_picture_comes_with_its_figures(
    served: Endpoint, hosted: Open, ask: Any, pose: Any, drain: Any
) -> None:
    engine = hosted()
    engine.submit(ask("a", control=pose((128, 128), 0.5), steps=4))

    outcomes, reports = drain(engine)

    headers, body = served.seen[0]
    assert headers["Authorization"] == "Bearer hf_this-is-a-secret"
    assert body["inputs"]["pictures"][0]["control"]
    finished = outcomes["a"]
    assert (finished.backend, finished.pose_applied, finished.steps_run) == ("hf-endpoint", True, 4)
    assert [report.elsewhere for report in reports if report.elsewhere] == [tuple(("a", step, 4) for step in range(4))]


def test_step_returns_long_before_a_call_does(served: Endpoint, hosted: Open, ask: Any) -> None:
    go_on = threading.Event()
    served.then = hangs(go_on)
    engine = hosted()
    engine.submit(ask("a"))
    wait_until(lambda: len(served.seen) == 1, timeout_s=WAIT_S)

    began = time.monotonic()
    report = engine.step()

    assert time.monotonic() - began < 5
    assert (report.stage, report.outcomes) == ("call", [])
    go_on.set()


def test_cancelling_ends_the_call_at_once_and_frees_its_place(served: Endpoint, hosted: Open, ask: Any) -> None:
    go_on = threading.Event()
    served.script.append(hangs(go_on))
    engine = hosted(calls_at_once=1)
    engine.submit(ask("a"))
    wait_until(lambda: len(served.seen) == 1, timeout_s=WAIT_S)

    engine.cancel("a")
    assert engine.step().outcomes == [Cancelled(key="a")]

    engine.submit(ask("b"))
    wait_until(lambda: bool(engine.step().outcomes), timeout_s=WAIT_S)
    assert len(served.seen) == 2
    go_on.set()


def test_cancelling_one_of_a_call_leaves_the_others_to_it(served: Endpoint, hosted: Open, ask: Any, drain: Any) -> None:
    go_on = threading.Event()
    served.script.append(hangs(go_on))
    engine = hosted()
    engine.submit(ask("a"))
    engine.submit(ask("b"))
    wait_until(lambda: len(served.seen) == 1, timeout_s=WAIT_S)
    engine.cancel("a")
    go_on.set()

    outcomes = drain(engine)[0]

    assert outcomes["a"] == Cancelled(key="a")
    assert isinstance(outcomes["b"], Finished)
    assert served.pictures_asked() == [2]


def test_closing_does_not_wait_for_a_call(served: Endpoint, hosted: Open, ask: Any) -> None:
    served.then = trickles(times=200)
    engine = hosted()
    engine.submit(ask("a"))
    wait_until(lambda: len(served.seen) == 1, timeout_s=WAIT_S)

    began = time.monotonic()
    engine.close()

    assert time.monotonic() - began < 4
    assert not engine.has_work()


def test_one_refused_picture_does_not_take_the_others_with_it(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    def picky(exchange: Any) -> None:
        (draws() if b"forbidden" not in exchange.sent else says(422))(exchange)

    served.then = picky
    engine = hosted()
    for key, prompt in (("a", "a person"), ("b", "a forbidden person"), ("c", "two people")):
        engine.submit(ask(key, prompt=prompt))

    outcomes = drain(engine)[0]

    assert {key: type(outcome) for key, outcome in outcomes.items()} == {"a": Finished, "b": Failed, "c": Finished}
    assert served.pictures_asked() == [3, 1, 1, 1]
    assert engine.line().state is LineState.READY


def test_a_picture_that_breaks_an_endpoint_that_is_well_otherwise_fails(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    def fragile(exchange: Any) -> None:
        (draws() if b"poison" not in exchange.sent else says(500))(exchange)

    served.then = fragile
    engine = hosted(calls_at_once=1, first_pause_s=0.05, most_pause_s=0.05)
    engine.submit(ask("poison", prompt="poison"))
    done: dict[str, Any] = {}
    for number in range(100):
        if "poison" in done:
            break
        engine.submit(ask(key := f"good {number}"))
        wait_until(partial(_collect, engine, done, key), timeout_s=WAIT_S)

    assert isinstance(done["poison"], Failed)
    assert done["poison"].error.code == "endpoint_broke"
    assert all(isinstance(outcome, Finished) for key, outcome in done.items() if key != "poison")


def test_a_sleeping_endpoint_is_waited_for_and_its_pictures_come(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    served.script.extend([says(503)] * 3)
    engine = hosted()
    engine.submit(ask("a"))

    assert isinstance(drain(engine)[0]["a"], Finished)
    assert (len(served.seen), engine.line().state) == (4, LineState.READY)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(served: Endpoint, hosted: Open, ask: Any, drain: Any, form: str) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    served.script.append(says(429, Retry_After="1" if form == "seconds" else later))
    engine = hosted(most_retry_after_s=30)
    engine.submit(ask("a"))
    began = time.monotonic()

    assert isinstance(drain(engine)[0]["a"], Finished)
    assert time.monotonic() - began >= 0.9


def test_retry_after_is_not_waited_for_longer_than_is_reasonable(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    served.script.append(says(429, Retry_After="86400"))
    engine = hosted(most_retry_after_s=0.1)
    engine.submit(ask("a"))

    assert isinstance(drain(engine)[0]["a"], Finished)


def test_a_connection_that_breaks_once_costs_nothing(served: Endpoint, hosted: Open, ask: Any, drain: Any) -> None:
    served.script.append(cuts_off())
    engine = hosted()
    engine.submit(ask("a"))

    assert isinstance(drain(engine)[0]["a"], Finished)


def test_an_open_breaker_returns_everything_takes_nothing_and_tries_one_picture_later(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    served.script.extend([says(500)] * 4)
    engine = hosted(calls_at_once=1, open_s=0.5)
    for index in range(4):
        engine.submit(ask(f"k{index}", width=256, height=192 if index % 2 else 256))

    outcomes = drain(engine)[0]

    assert all(isinstance(outcome, Returned) for outcome in outcomes.values())
    assert (engine.line().state, engine.line().reason, engine.free_rows()) == (LineState.AWAY, "HTTP 500", 0)
    wait_until(lambda: engine.free_rows() == 1, timeout_s=WAIT_S)
    engine.submit(ask("probe"))
    assert engine.free_rows() == 0
    assert isinstance(drain(engine)[0]["probe"], Finished)
    assert (engine.line().state, engine.free_rows()) == (LineState.READY, 4)


def test_a_refused_token_returns_what_waits_and_is_never_tried_again(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    served.then = says(401)
    engine = hosted(calls_at_once=1)
    for index in range(8):
        engine.submit(ask(f"k{index}"))

    outcomes = drain(engine)[0]

    assert {type(outcome) for outcome in outcomes.values()} == {Returned}
    assert not any(outcome.suspect for outcome in outcomes.values())
    assert len(served.seen) == 1
    assert (engine.free_rows(), engine.line().shut_for_s) == (0, None)


def test_what_the_endpoints_engine_says_of_one_picture_is_that_pictures(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    def half(told: dict[str, Any]) -> None:
        error = {"code": "lora_missing", "message": "There is no LoRA 'x'.", "again": False}
        told["pictures"][0] = {"error": error}

    served.then = draws(half)
    engine = hosted()
    engine.submit(ask("a"))
    engine.submit(ask("b"))

    outcomes = drain(engine)[0]

    assert (outcomes["a"].error.code, str(outcomes["a"].error)) == ("lora_missing", "There is no LoRA 'x'.")
    assert isinstance(outcomes["b"], Finished)
    assert len(served.seen) == 1


def test_a_black_picture_is_asked_for_once_more(served: Endpoint, hosted: Open, ask: Any, drain: Any) -> None:
    served.script.append(draws(black=True))
    engine = hosted()
    engine.submit(ask("a"))
    assert isinstance(drain(engine)[0]["a"], Finished)

    served.then = draws(black=True)
    engine.submit(ask("b"))
    assert isinstance(drain(engine)[0]["b"].error, BadPicture)


def test_a_redirect_is_not_followed_with_the_token(served: Endpoint, hosted: Open, ask: Any, drain: Any) -> None:
    with endpoint() as elsewhere:
        served.then = says(307, Location=elsewhere.url)
        engine = hosted()
        engine.submit(ask("a"))
        assert isinstance(drain(engine)[0]["a"], Returned)
        assert elsewhere.seen == []


def test_a_picture_that_was_never_asked_for_in_its_time_goes_back(
    served: Endpoint, hosted: Open, ask: Any, drain: Any
) -> None:
    go_on = threading.Event()
    served.then = hangs(go_on)
    engine = hosted(calls_at_once=1, picture_s=0.5)
    engine.submit(ask("first"))
    wait_until(lambda: len(served.seen) == 1, timeout_s=WAIT_S)
    engine.submit(ask("second", width=256, height=256))

    outcomes = drain(engine)[0]

    assert {type(outcome) for outcome in outcomes.values()} == {Returned}
    assert engine.line().state is LineState.UNTRIED
    go_on.set()


def test_without_pose_control_poses_are_refused_unless_they_may_be_left_out(
    serverless: Open, ask: Any, pose: Any, drain: Any
) -> None:
    engine = serverless()
    control = pose((128, 128), 0.5)
    with pytest.raises(PoseRefused):
        engine.submit(ask("a", control=control))
    with pytest.raises(LorasRefused):
        engine.submit(ask("a", loras=(Lora(name="ink"),)))
    engine.submit(ask("a", control=control, allow_poseless=True))

    finished = drain(engine)[0]["a"]

    assert (finished.backend, finished.pose_applied) == ("hf-serverless", False)


def test_the_serverless_service_is_told_prompt_size_seed_steps_and_guidance(
    painted: Endpoint, serverless: Open, ask: Any, drain: Any
) -> None:
    engine = serverless()
    engine.submit(ask("a", seed=99, steps=7, guidance=2.5))
    drain(engine)

    headers, body = painted.seen[0]
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Bearer hf_this-is-a-secret"
    assert body["inputs"] == "a person in a green room"
    told = {"width": 128, "height": 128, "num_inference_steps": 7, "guidance_scale": 2.5, "seed": 99}
    assert body["parameters"] == told


def test_what_nobody_foresaw_ends_the_engine_instead_of_hanging_a_picture(
    hosted: Open, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_requests: object) -> None:
        raise KeyError("a mistake of ours")

    engine = hosted()
    monkeypatch.setattr(engine.backend, "draw", broken)
    engine.submit(ask("a"))

    with pytest.raises(CardFailed, match="a mistake of ours"):
        wait_until(lambda: bool(engine.step().outcomes), timeout_s=WAIT_S)


def _collect(engine: HostedEngine, done: dict[str, Any], key: str) -> bool:
    done.update((outcome.key, outcome) for outcome in engine.step().outcomes)
    return key in done
