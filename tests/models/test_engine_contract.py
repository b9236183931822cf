"""What every engine promises, checked on the fake, on the real one and on both hosted kinds alike.

What concerns steps, rows and previews is promised by the engines that step themselves.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hosting import endpoint, paints, toolkit

from models.engine import Engine
from models.errors import EmptyPrompt, EngineClosed, KeyInUse, SizeRefused
from models.fake import FakeEngine
from models.hosted.backends import EndpointBackend, ServerlessBackend
from models.hosted.engine import HostedEngine
from models.loading import load_engine
from models.profiles import TINY
from models.requests import Cancelled, Finished


@pytest.fixture(params=["fake", "tiny", "endpoint", "serverless"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Every kind of engine, for four pictures at once."""
    match request.param:
        case "fake":
            engine: Engine = FakeEngine(TINY, max_batch=4)
            yield engine
            engine.close()
        case "tiny":
            yield request.getfixturevalue("tiny_engine")
        case "endpoint":
            handler = request.getfixturevalue("tiny_handler")
            with endpoint(toolkit(handler)) as server:
                backend = EndpointBackend(server.url, "hf_secret", profile="tiny")
                engine = HostedEngine(TINY, backend, calls_at_once=1)
                yield engine
                engine.close()
        case _:
            with endpoint(paints()) as server:
                engine = HostedEngine(TINY, ServerlessBackend("hf_secret", url=server.url), calls_at_once=4)
                yield engine
                engine.close()


@pytest.fixture(params=["fake", "tiny"])
def stepping(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engines that step themselves."""
    if request.param == "fake":
        engine = FakeEngine(TINY, max_batch=4)
        yield engine
        engine.close()
    else:
        yield request.getfixturevalue("tiny_engine")


@pytest.fixture
def backend(engine: Engine) -> str:
    """What the engine's pictures say they come from."""
    return engine.backend.name if isinstance(engine, HostedEngine) else "tiny"


@pytest.fixture(params=["fake", "tiny"])
def showing(request: pytest.FixtureRequest, models_dir: Path) -> Iterator[Engine]:
    """An engine that makes previews."""
    fake = request.param == "fake"
    engine: Engine = (
        FakeEngine(TINY, max_batch=4)
        if fake
        else load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=4, previews=True)
    )
    yield engine
    engine.close()


def test_it_is_an_engine(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert (engine.profile, engine.max_batch) == (TINY, 4)


def test_a_finished_picture_has_its_size_and_colours_between_0_and_1(
    engine: Engine, backend: str, ask: Any, drain: Any
) -> None:
    engine.submit(ask("a", width=256, height=192, steps=2))
    finished = drain(engine)[0]["a"]
    assert isinstance(finished, Finished)
    assert (finished.pixels.shape, finished.pixels.dtype) == ((192, 256, 3), np.float32)
    assert finished.pixels.min() >= 0
    assert finished.pixels.max() <= 1
    assert (finished.steps_run, finished.backend) == (2, backend)
    assert finished.denoise_s >= 0


def test_pose_applied_tells_whether_the_pose_was_followed(engine: Engine, ask: Any, pose: Any, drain: Any) -> None:
    control = pose((128, 128), 0.5)
    follows = getattr(getattr(engine, "backend", None), "follows_poses", True)
    engine.submit(ask("with", control=control, allow_poseless=not follows))
    engine.submit(ask("without"))
    engine.submit(ask("weightless", control=control, control_scale=0.0))
    engine.submit(ask("never", control=control, control_end=0.0))
    told = {key: outcome.pose_applied for key, outcome in drain(engine)[0].items()}
    assert told == {"with": follows, "without": False, "weightless": False, "never": False}


def test_every_key_gets_exactly_one_outcome_in_spite_of_more_requests_than_rows(
    engine: Engine, ask: Any, drain: Any
) -> None:
    for index in range(7):
        engine.submit(ask(f"k{index}", steps=1 + index % 3))
    outcomes, _ = drain(engine)
    assert sorted(outcomes) == [f"k{index}" for index in range(7)]
    assert not engine.has_work()


def test_a_newcomer_joins_the_next_forward(stepping: Engine, ask: Any) -> None:
    stepping.submit(ask("early", steps=5))
    while not stepping.step().rows:
        pass
    stepping.submit(ask("late", steps=2, guidance=1.0, prompt="other words"))
    report = stepping.step()
    assert report.stage == "encode"
    report = stepping.step()
    assert report.stage == "step"
    assert report.rows == (("early", 1, 5), ("late", 0, 2))


def test_no_forward_mixes_sizes(stepping: Engine, ask: Any, drain: Any) -> None:
    stepping.submit(ask("small"))
    stepping.submit(ask("wide", width=256, height=192))
    stepping.submit(ask("small again"))
    _, reports = drain(stepping)
    assert all(len(report.rows) == 1 for report in reports if report.stage == "step")


def test_a_cancelled_row_is_in_no_later_forward(stepping: Engine, ask: Any, drain: Any) -> None:
    stepping.submit(ask("a", steps=5))
    stepping.submit(ask("b", steps=5))
    while not stepping.step().rows:
        pass
    stepping.cancel("a")
    outcomes, reports = drain(stepping)
    assert outcomes["a"] == Cancelled(key="a")
    assert isinstance(outcomes["b"], Finished)
    assert all(row[0] != "a" for report in reports for row in report.rows)


def test_a_waiting_request_can_be_cancelled(engine: Engine, ask: Any, drain: Any) -> None:
    engine.submit(ask("a"))
    engine.cancel("a")
    assert drain(engine)[0] == {"a": Cancelled(key="a")}


def test_cancelling_what_is_not_there_does_nothing(engine: Engine) -> None:
    engine.cancel("nobody")
    assert engine.step().outcomes == []


def test_an_engine_without_work_is_idle_at_once(engine: Engine) -> None:
    report = engine.step()
    assert (report.stage, report.rows, report.outcomes) == ("idle", (), [])


def test_free_rows_and_live_keys_follow_what_is_in_flight(engine: Engine, ask: Any, drain: Any) -> None:
    assert (engine.free_rows(), engine.live_keys(), engine.current_size()) == (4, (), None)
    engine.submit(ask("a"))
    engine.submit(ask("b"))
    assert (engine.free_rows(), engine.live_keys()) == (2, ("a", "b"))
    drain(engine)
    assert (engine.free_rows(), engine.live_keys(), engine.current_size()) == (4, (), None)


def test_who_is_in_flight_says_which_size_may_join_at_once(stepping: Engine, ask: Any) -> None:
    stepping.submit(ask("a"))
    assert stepping.current_size() == (128, 128)


def test_a_refused_request_leaves_nothing_behind(engine: Engine, ask: Any) -> None:
    with pytest.raises(SizeRefused):
        engine.submit(ask("a", width=250))
    with pytest.raises(EmptyPrompt):
        engine.submit(ask("a", prompt=" "))
    assert not engine.has_work()


def test_a_live_key_is_refused_and_free_again_afterwards(engine: Engine, ask: Any, drain: Any) -> None:
    engine.submit(ask("a"))
    with pytest.raises(KeyInUse):
        engine.submit(ask("a"))
    drain(engine)
    engine.submit(ask("a"))
    assert isinstance(drain(engine)[0]["a"], Finished)


def test_the_same_request_gives_the_same_picture_and_another_seed_another(engine: Engine, ask: Any, drain: Any) -> None:
    pictures = []
    for seed in (1, 1, 2):
        engine.submit(ask("a", seed=seed))
        pictures.append(drain(engine)[0]["a"].pixels)
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_submits_and_cancels_from_other_threads_lose_nothing(engine: Engine, ask: Any, drain: Any) -> None:
    barrier = threading.Barrier(5)

    def feed(name: int) -> None:
        barrier.wait()
        for index in range(6):
            engine.submit(ask(f"{name}-{index}", steps=1))
            if index % 3 == 2:
                engine.cancel(f"{name}-{index}")

    threads = [threading.Thread(target=feed, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait()
    outcomes: dict[str, Any] = {}
    while any(thread.is_alive() for thread in threads):
        outcomes.update((outcome.key, outcome) for outcome in engine.step().outcomes)
    outcomes.update(drain(engine)[0])
    assert len(outcomes) == 24
    assert all(isinstance(outcome, Finished | Cancelled) for outcome in outcomes.values())


def test_a_preview_is_made_of_the_next_step_of_who_was_asked_for_and_of_nobody_else(showing: Engine, ask: Any) -> None:
    showing.submit(ask("a", steps=4))
    showing.submit(ask("b", steps=4))
    showing.preview("b")
    previews = [showing.step().previews for _ in range(3)]
    assert [len(each) for each in previews] == [0, 1, 0]
    seen = previews[1][0]
    assert (seen.key, seen.step_index, seen.steps) == ("b", 0, 4)
    assert (seen.pixels.shape, seen.pixels.dtype) == ((16, 16, 3), np.uint8)
    showing.preview("a")
    assert [(each.key, each.step_index) for each in showing.step().previews] == [("a", 2)]


def test_without_a_wish_there_are_no_previews(showing: Engine, ask: Any, drain: Any) -> None:
    showing.submit(ask("a"))
    showing.preview("nobody")
    assert all(report.previews == () for report in drain(showing)[1])


def test_a_wish_for_a_cancelled_picture_is_forgotten(showing: Engine, ask: Any, drain: Any) -> None:
    showing.submit(ask("a"))
    showing.submit(ask("b"))
    showing.step()
    showing.preview("a")
    showing.cancel("a")
    outcomes, reports = drain(showing)
    assert outcomes["a"] == Cancelled(key="a")
    assert all(report.previews == () for report in reports)


def test_warming_up_shows_nobody_a_picture(engine: Engine) -> None:
    engine.warm_up()
    assert not engine.has_work()
    assert engine.step().stage == "idle"


def test_a_closed_engine_refuses_and_has_forgotten(engine: Engine, ask: Any) -> None:
    engine.submit(ask("a"))
    engine.close()
    assert not engine.has_work()
    with pytest.raises(EngineClosed):
        engine.submit(ask("b"))
