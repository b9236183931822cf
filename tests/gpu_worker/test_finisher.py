"""After the engine: a delivered picture has its files, and nothing else has."""

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import event
from support.waiting import wait_until

from models.requests import Finished
from posegen.errors import DatabaseAway
from posegen.finishing import cancel_generation
from posegen.statuses import GenerationStatus, ItemStatus
from posegen.tables import WorkItem

if TYPE_CHECKING:
    from posegen.leases import Claim

    from .conftest import Bench


def finished(key: str) -> Finished:
    pixels = np.random.default_rng(1).random((128, 128, 3), dtype=np.float32)
    return Finished(key=key, pixels=pixels, denoise_s=0.5, steps_run=4, backend="tiny", pose_applied=True)


def take_one(bench: "Bench") -> tuple[str, "Claim"]:
    bench.house.order("ann", 1)
    claim = bench.house.claim(1)[0]
    return bench.desk.take(claim), claim


def finish(bench: "Bench", key: str) -> None:
    bench.finisher.take(finished(key))
    wait_until(lambda: not bench.desk.held(), message="an empty desk", timeout_s=30)


def test_a_delivered_picture_names_files_that_are_there(bench: "Bench") -> None:
    key, claim = take_one(bench)

    finish(bench, key)

    picture = bench.house.pictures(claim.generation_id)[0]
    assert bench.stored() == sorted([picture.output_key or "", picture.thumbnail_key or ""])
    assert (picture.backend, picture.pose_applied, picture.identity_applied) == ("tiny", True, False)
    assert f"-a{claim.attempt}" in (picture.output_key or "")


def test_a_delivered_file_says_how_many_steps_were_extrapolated(bench: "Bench") -> None:
    key, claim = take_one(bench)

    bench.finisher.take(replace(finished(key), steps_skipped=3))
    wait_until(lambda: not bench.desk.held(), message="an empty desk", timeout_s=30)

    stored = bench.storage_dir / (bench.house.pictures(claim.generation_id)[0].output_key or "")
    assert f", 3 of {claim.steps} steps extrapolated".encode() in stored.read_bytes()


def test_a_cancelled_picture_leaves_no_files(bench: "Bench") -> None:
    key, claim = take_one(bench)
    with bench.house.database.writing() as session:
        cancel_generation(session, claim.generation_id, "ann", now=bench.house.items()[0].created_at)

    finish(bench, key)

    assert bench.stored() == []
    assert bench.house.pictures(claim.generation_id) == []
    bench.house.assert_books_balance()


def test_a_delivery_whose_commit_was_not_answered_keeps_its_files(bench: "Bench") -> None:
    """The connection breaks after COMMIT: the second try finds the picture delivered, by itself."""
    key, claim = take_one(bench)
    broken = []

    @event.listens_for(bench.house.database.engine, "commit")
    def commit_then_break(connection: object) -> None:
        if not broken:
            broken.append(True)
            connection.connection.dbapi_connection.commit()  # type: ignore[attr-defined]
            raise DatabaseAway

    try:
        finish(bench, key)
    finally:
        event.remove(bench.house.database.engine, "commit", commit_then_break)

    assert broken
    assert bench.house.item(claim.item_id).status == ItemStatus.COMPLETED
    assert len(bench.stored()) == 2
    bench.house.assert_books_balance()


def test_a_store_that_stays_away_costs_the_customer_nothing(bench: "Bench") -> None:
    key, claim = take_one(bench)
    shutil.rmtree(bench.storage_dir)
    bench.storage_dir.write_text("not a folder")

    finish(bench, key)

    item = bench.house.item(claim.item_id)
    assert (item.status, item.error_code) == (ItemStatus.FAILED, "storage_away")
    assert bench.house.generation(claim.generation_id).status == GenerationStatus.FAILED
    assert bench.house.balance("ann") == 100_000
    bench.storage_dir.unlink()


@pytest.mark.parametrize("again", [2])
def test_an_outcome_that_comes_twice_is_delivered_once(bench: "Bench", again: int) -> None:
    key, claim = take_one(bench)

    for _ in range(again):
        bench.finisher.take(finished(key))
    wait_until(lambda: not bench.desk.held(), message="an empty desk")
    bench.finisher.close()

    assert len(bench.house.pictures(claim.generation_id)) == 1
    assert len(bench.stored()) == 2


def test_a_picture_that_breaks_its_finishing_is_tried_again_but_not_for_ever(bench: "Bench") -> None:
    """Its pixels cannot be encoded; after three attempts it is failed and refunded."""
    bench.house.order("ann", 1)
    for attempt in (1, 2, 3):
        claim = bench.house.claim(1)[0]
        key = bench.desk.take(claim)
        assert claim.attempt == attempt
        broken = Finished(
            key=key,
            pixels=np.zeros((0, 0, 3), dtype=np.float32),
            denoise_s=0.1,
            steps_run=1,
            backend="tiny",
            pose_applied=True,
        )
        bench.finisher.take(broken)
        wait_until(lambda: not bench.desk.held(), message="an empty desk")

    item = bench.house.items()[0]
    assert (item.status, item.attempt) == (ItemStatus.FAILED, 3)
    assert bench.house.balance("ann") == 100_000
    assert bench.stored() == []


def test_a_picture_that_waited_past_its_deadline_is_left_to_whoever_holds_it_now(bench: "Bench") -> None:
    key, claim = take_one(bench)
    bench.desk.begin_finish(key, within_s=-1)

    bench.finisher._finish(claim, finished(key))

    assert bench.stored() == []
    assert bench.desk.held() == []
    assert bench.house.item(claim.item_id).status == ItemStatus.DRAWING


def test_a_suspect_is_acquitted_when_it_left_the_engine(bench: "Bench") -> None:
    key, claim = take_one(bench)
    with bench.house.database.writing() as session:
        session.get_one(WorkItem, claim.item_id).drawn_alone = True
    bench.desk.drop(key)
    key = bench.desk.take(replace(claim, alone=True))

    finish(bench, key)

    item = bench.house.items()[0]
    assert (item.status, item.drawn_alone) == (ItemStatus.COMPLETED, False)
