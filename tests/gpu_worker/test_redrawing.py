"""A picture that missed its pose is drawn once more, inside its order, and the better drawing is delivered."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import support.waiting
from sqlalchemy import update
from support.judging import Gate, Looker

from gpu_worker.desk import Stage
from gpu_worker.drawn import drawn_of
from gpu_worker.redrawing import better_of
from models.fake import FakeEngine, FakeTrouble
from models.profiles import TINY
from models.requests import Finished, PictureRequest
from posegen.bell import Bell
from posegen.database import Database
from posegen.finishing import cancel_generation
from posegen.identifiers import seed_of_redraw
from posegen.statuses import GenerationStatus, ItemStatus
from posegen.tables import GeneratedPicture, WorkItem

from .conftest import Bench, bench_around
from .test_pictures import CLAIM

MISSED, NEAR, HIT = 0.3, 0.02, 0.0
Benches = Callable[..., Bench]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def judged(sqlite_url: str, redis_url: str, tmp_path: Path, gate: Gate) -> Iterator[Benches]:
    """Makes a bench whose pictures are judged by a detector; those below 0.5 are drawn once more."""
    with ExitStack() as stack:
        database, bell = Database(sqlite_url), Bell(redis_url)
        stack.callback(database.close)
        stack.callback(bell.close)
        stack.callback(gate.open)

        def make(detector: Looker, *, below: float = 0.5) -> Bench:
            engine = FakeEngine(TINY, 4, 0.001, sleep=gate)
            around = bench_around(engine, database, bell, tmp_path, detector=detector, redraw_below=below)
            bench = stack.enter_context(around)
            stack.callback(gate.open)
            return bench

        yield make


def wait_until(condition: Callable[[], object], message: str = "") -> None:
    support.waiting.wait_until(condition, timeout_s=60, message=message)


def draw_one(bench: Bench) -> GeneratedPicture:
    """Draw a single picture to its end, and see that it was paid, counted and stored once."""
    placed = bench.house.order("ann", 1)
    bench.thread.start()
    bench.hands.draw_everything()
    (picture,) = bench.house.pictures(placed.generation_id)
    generation = bench.house.generation(placed.generation_id)
    assert (generation.status, generation.poses_completed) == (GenerationStatus.COMPLETED, 1)
    assert [entry.amount_credits for entry in bench.house.entries("ann") if entry.type != "bonus"] == [-30]
    assert len(bench.stored()) == 2
    assert [event.type for event in bench.house.events("ann")].count("pose_completed") == 1
    bench.house.assert_books_balance()
    return picture


def finished(key: str, *, denoise_s: float) -> Finished:
    pixels = np.full((128, 128, 3), 0.5, dtype=np.float32)
    return Finished(key=key, pixels=pixels, denoise_s=denoise_s, steps_run=4, backend="tiny", pose_applied=True)


def drawings(bench: Bench) -> list[str]:
    """The keys that were in the engine, in order."""
    return list(dict.fromkeys(key for keys in bench.engine.forwards for key in keys))


def redraw_in_engine(bench: Bench) -> None:
    """Order a picture and wait until it is in the engine for the second time."""
    bench.house.order("ann", 1)
    bench.thread.start()
    bench.hands.draw(bench.house.items()[0].generation_id or "")
    wait_until(lambda: any(held.first for held in bench.desk.held(Stage.ENGINE)), message="a second drawing")


def test_a_picture_that_holds_its_pose_is_delivered_with_its_score_at_once(judged: Benches) -> None:
    bench = judged(Looker(NEAR))

    picture = draw_one(bench)

    item = bench.house.items()[0]
    assert 0.5 < (picture.ai_confidence_score or 0.0) < 1
    assert (picture.seed_used, item.redraw) == (item.seed, 0)
    assert drawings(bench) == [f"{item.id}:1"]
    told = next(event.payload for event in bench.house.events("ann") if event.type == "pose_completed")
    assert told["poseScore"] == told["aiConfidenceScore"] == picture.ai_confidence_score


def test_the_second_drawing_is_kept_when_it_is_better(judged: Benches) -> None:
    bench = judged(Looker(MISSED, HIT))

    picture = draw_one(bench)

    item = bench.house.items()[0]
    assert picture.ai_confidence_score == 1
    assert picture.seed_used == seed_of_redraw(item.seed, 1) != item.seed
    assert (item.redraw, item.attempt) == (1, 1)
    assert drawings(bench) == [f"{item.id}:1", f"{item.id}:1:1"]
    stored = (bench.storage_dir / (picture.output_key or "")).read_bytes()
    assert f"seed {picture.seed_used}".encode() in stored


def test_the_first_drawing_is_kept_when_the_second_is_worse_and_there_is_no_third(judged: Benches) -> None:
    looker = Looker(0.1, MISSED, HIT)
    bench = judged(looker, below=0.9)

    picture = draw_one(bench)

    item = bench.house.items()[0]
    assert looker.looks == 2
    assert 0 < (picture.ai_confidence_score or 0.0) < 0.9
    assert (picture.seed_used, item.redraw) == (item.seed, 0)
    assert f"seed {item.seed}".encode() in (bench.storage_dir / (picture.output_key or "")).read_bytes()


def test_nothing_is_drawn_again_unless_it_is_asked_for(judged: Benches) -> None:
    bench = judged(Looker(MISSED), below=0.0)

    picture = draw_one(bench)

    assert picture.ai_confidence_score == pytest.approx(0, abs=0.01)
    assert len(drawings(bench)) == 1


def test_an_order_of_many_is_charged_and_counted_once_whatever_is_drawn_again(judged: Benches) -> None:
    bench = judged(Looker(HIT, MISSED, NEAR, MISSED, HIT))
    placed = bench.house.order("ann", 8)
    bench.thread.start()

    bench.hands.draw_everything()

    generation = bench.house.generation(placed.generation_id)
    assert (generation.poses_completed, generation.credit_charged, generation.credit_refunded) == (8, 240, 0)
    assert len(bench.house.pictures(placed.generation_id)) == 8
    assert len(bench.stored()) == 16
    assert len(drawings(bench)) == 10
    bench.house.assert_books_balance()


@pytest.mark.parametrize("trouble", [FakeTrouble.NAN, FakeTrouble.OOM])
def test_a_second_drawing_that_fails_leaves_the_first(judged: Benches, trouble: FakeTrouble) -> None:
    bench = judged(Looker(MISSED))
    bench.house.order("bob", 1)
    item = bench.house.items()[0]
    bench.engine.trouble[f"{item.id}:1:1"] = trouble
    bench.thread.start()

    bench.hands.draw_everything()

    item = bench.house.item(item.id)
    assert (item.status, item.redraw) == (ItemStatus.COMPLETED, 0)
    bench.house.assert_books_balance()


def test_a_second_drawing_that_the_engine_refuses_leaves_the_first(judged: Benches) -> None:
    bench = judged(Looker(MISSED))
    submit = bench.engine.submit

    def only_first(request: PictureRequest) -> None:
        if request.key.count(":") > 1:
            raise MemoryError
        submit(request)

    bench.finisher._redrawing._submit = only_first  # type: ignore[union-attr]

    assert draw_one(bench).seed_used == bench.house.items()[0].seed


def test_a_cancelled_picture_is_dropped_in_both_its_drawings(judged: Benches, gate: Gate) -> None:
    bench = judged(Looker(MISSED, at_look=lambda look: gate.shut()))
    redraw_in_engine(bench)
    generation_id = bench.house.items()[0].generation_id or ""
    bench.keeper.watch(bench.desk, bench.thread, bench.hands)
    bench.keeper.start()

    with bench.house.database.writing() as session:
        cancel_generation(session, generation_id, "ann", now=bench.house.items()[0].created_at)
    wait_until(lambda: not bench.desk.held(), message="an empty desk")
    gate.open()
    wait_until(lambda: not bench.engine.has_work(), message="an empty engine")

    generation = bench.house.generation(generation_id)
    assert (generation.status, generation.credit_refunded) == (GenerationStatus.CANCELLED, 30)
    assert bench.stored() == []
    assert bench.house.pictures(generation_id) == []
    bench.house.assert_books_balance()


def test_a_drain_delivers_the_first_drawing_instead_of_losing_it(judged: Benches, gate: Gate) -> None:
    bench = judged(Looker(MISSED, at_look=lambda look: gate.shut()))
    redraw_in_engine(bench)

    bench.hands.begin_drain()
    bench.thread.stop()
    bench.finisher.close()

    item = bench.house.items()[0]
    assert bench.hands.give_back() == 0
    assert (item.status, item.attempt, item.redraw) == (ItemStatus.COMPLETED, 1, 0)
    assert len(bench.stored()) == 2
    bench.house.assert_books_balance()
    gate.open()


def test_while_the_process_leaves_nothing_is_drawn_again(judged: Benches) -> None:
    bench = judged(Looker(MISSED))
    bench.finisher.begin_drain()
    placed = bench.house.order("ann", 1)
    bench.thread.start()

    bench.hands.draw_everything()

    assert len(bench.house.pictures(placed.generation_id)) == 1
    assert len(drawings(bench)) == 1


def test_an_engine_that_breaks_over_the_second_drawing_loses_nothing_and_blames_nobody(judged: Benches) -> None:
    bench = judged(Looker(MISSED))
    bench.house.order("ann", 1)
    item = bench.house.items()[0]
    bench.engine.trouble[f"{item.id}:1:1"] = FakeTrouble.CRASH
    bench.thread.start()
    bench.hands.draw(item.generation_id or "")
    wait_until(bench.thread.failed.is_set)

    returned = bench.hands.give_back()
    bench.finisher.close()

    item = bench.house.item(item.id)
    assert (returned, item.status, item.crashes) == (0, ItemStatus.COMPLETED, 0)
    bench.house.assert_books_balance()


def test_a_suspect_is_not_put_in_the_engine_a_second_time(judged: Benches) -> None:
    bench = judged(Looker(MISSED))
    bench.house.order("ann", 1)
    with bench.house.database.writing() as session:
        session.execute(update(WorkItem).values(crashes=1))
    bench.thread.start()

    bench.hands.draw_everything()

    assert bench.house.items()[0].status == ItemStatus.COMPLETED
    assert len(drawings(bench)) == 1


def test_a_suspect_waits_for_a_second_drawing_that_began_while_it_was_claimed(judged: Benches, gate: Gate) -> None:
    bench = judged(Looker(MISSED, HIT, at_look=lambda look: gate.shut() if look == 0 else None))
    redraw_in_engine(bench)
    bench.house.order("bob", 1)
    (suspect,) = [replace(claim, alone=True) for claim in bench.house.claim(1)]
    submitting = threading.Thread(target=bench.hands._submit, args=(suspect,))

    submitting.start()
    wait_until(bench.desk.holds_suspect)
    assert len(bench.engine.live_keys()) == 1
    gate.open()
    submitting.join(30)
    wait_until(lambda: not bench.desk.held(), message="an empty desk")

    assert all(len(keys) == 1 for keys in bench.engine.forwards)
    assert {item.status for item in bench.house.items()} == {ItemStatus.COMPLETED}


def test_the_time_of_both_drawings_is_the_pictures(judged: Benches) -> None:
    bench = judged(Looker(MISSED, HIT))
    placed = bench.house.order("ann", 1)
    key = bench.desk.take(bench.house.claim(1)[0])

    bench.finisher.take(finished(key, denoise_s=0.5))
    wait_until(lambda: bench.engine.live_keys())
    bench.finisher.take(finished(f"{key}:1", denoise_s=0.25))
    wait_until(lambda: not bench.desk.held())

    (picture,) = bench.house.pictures(placed.generation_id)
    assert (picture.generation_time_s, picture.ai_confidence_score) == (0.75, 1)


def test_a_second_drawing_without_pixels_leaves_the_first(judged: Benches) -> None:
    bench = judged(Looker(MISSED, HIT))
    placed = bench.house.order("ann", 1)
    key = bench.desk.take(bench.house.claim(1)[0])

    bench.finisher.take(finished(key, denoise_s=0.5))
    wait_until(lambda: bench.engine.live_keys())
    nothing = np.zeros((0, 0, 3), dtype=np.float32)
    bench.finisher.take(replace(finished(f"{key}:1", denoise_s=0.25), pixels=nothing))
    wait_until(lambda: not bench.desk.held())

    (picture,) = bench.house.pictures(placed.generation_id)
    assert (picture.status, picture.generation_time_s, len(bench.stored())) == ("completed", 0.75, 2)


def test_a_second_drawing_that_nobody_could_judge_is_no_better() -> None:
    first = drawn_of(CLAIM, finished("i1:3", denoise_s=1.0))
    second = replace(first, claim=replace(CLAIM, redraw=1))

    assert better_of(replace(first, pose_score=0.1), second).claim.redraw == 0
    assert better_of(replace(first, pose_score=0.1), replace(second, pose_score=0.1)).claim.redraw == 0
    assert better_of(replace(first, pose_score=0.1), replace(second, pose_score=0.2)).claim.redraw == 1


def test_a_claim_that_was_lost_while_it_was_judged_is_not_drawn_again(judged: Benches) -> None:
    lost: list[Bench] = []
    bench = judged(Looker(MISSED, at_look=lambda look: lost[0].desk.drop(f"{lost[0].house.items()[0].id}:1") and None))
    lost.append(bench)
    bench.house.order("ann", 1)
    bench.thread.start()

    bench.hands.draw(bench.house.items()[0].generation_id or "")
    wait_until(lambda: bench.house.items()[0].status == ItemStatus.COMPLETED)

    assert len(drawings(bench)) == 1
