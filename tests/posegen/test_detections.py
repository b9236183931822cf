"""Photos that become poses: placed, claimed once, fenced, healed and forgotten; nothing of it costs anything."""

from datetime import timedelta
from pathlib import Path

import pytest
from support.house import PEOPLE, House, all_at_once, later
from support.photos import photo

from posegen import detections
from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import database_now
from posegen.detections import DetectionClaim, StoredPhoto
from posegen.errors import NoDetector, NotFound
from posegen.leases import give_back, queued_generations, renew_leases
from posegen.pose_control import undrawable
from posegen.reconciler import Healer, reconcile_once
from posegen.recovery import Recovered, prune, return_lapsed
from posegen.statuses import DetectionStatus, ItemStatus, WorkerStatus
from posegen.storage import Links, Storage
from posegen.tables import LedgerEntry, WorkerRow, WorkItem
from posegen.upkeep import Upkeep
from posegen.uploads import check_photo
from posegen.workforce import WorkerReport, report

STORED = StoredPhoto(key="users/ann/detections/one.jpg", width_px=640, height_px=512)


@pytest.fixture
def ann(house: House) -> str:
    return house.customer("ann")


def place(house: House, user_id: str = "ann", *, at_s: float = 0.0) -> str:
    with house.database.writing() as session:
        return detections.place_detection(session, user_id, STORED, now=later(at_s))


def claim(house: House, *, worker: str = "w1", at_s: float = 0.0) -> DetectionClaim | None:
    with house.database.writing() as session:
        return detections.claim_detection(session, worker=worker, lease_s=20, now=later(at_s))


def claimed(house: House, *, worker: str = "w1", at_s: float = 0.0) -> DetectionClaim:
    taken = claim(house, worker=worker, at_s=at_s)
    assert taken is not None
    return taken


def claimed_after_placing(house: House) -> DetectionClaim:
    place(house)
    return claimed(house)


def finish(house: House, taken: DetectionClaim, *, at_s: float = 1.0) -> bool:
    with house.database.writing() as session:
        return detections.finish_detection(session, taken, PEOPLE, now=later(at_s))


def fail(house: House, taken: DetectionClaim, *, at_s: float = 1.0) -> bool:
    with house.database.writing() as session:
        return detections.fail_detection(session, taken, code="nobody_found", message="Nobody.", now=later(at_s))


def read(house: House, detection_id: str, user_id: str = "ann") -> detections.Detection:
    with house.database.reading() as session:
        return detections.detection_of(session, user_id, detection_id)


def said_by(name: str, *, detector: str | None = "rtmlib", reason: str | None = None) -> WorkerReport:
    return WorkerReport(
        name=name,
        host="here",
        pid=1,
        device="cpu",
        device_name=None,
        profile="tiny",
        status=WorkerStatus.READY,
        max_batch=4,
        capabilities={"detect": detections.ability(detector=detector, reason=reason)},
    )


def worker(house: House, said: WorkerReport) -> None:
    with house.database.writing() as session:
        report(session, said, now=later(0))


def heal(house: House, *, at_s: float) -> Recovered:
    """A round of a witness who was there all the while."""
    with house.database.writing() as session:
        return return_lapsed(session, witness_since=later(-100), now=later(at_s))


def test_a_photo_is_queued_then_looked_at_then_has_key_points(house: House, ann: str) -> None:
    placed = place(house)
    assert read(house, placed) == detections.Detection(
        id=placed, status=DetectionStatus.QUEUED, pose=None, error_message=None
    )

    taken = claimed(house)
    assert read(house, placed).status == DetectionStatus.PROCESSING
    assert (taken.item_id, taken.attempt, taken.photo_key) == (placed, 1, STORED.key)

    assert finish(house, taken)
    done = read(house, placed)
    assert (done.status, done.pose) == (DetectionStatus.COMPLETED, PEOPLE)
    assert house.item(placed).extras is None, "nothing names the photo any more"


def test_a_photo_without_anybody_says_so_and_lets_go_of_its_file(house: House, ann: str) -> None:
    placed = place(house)

    assert fail(house, claimed(house))

    told = read(house, placed)
    assert (told.status, told.error_message) == (DetectionStatus.FAILED, "Nobody.")
    assert house.item(placed).extras is None


def test_somebody_elses_detection_does_not_exist(house: House, ann: str) -> None:
    house.customer("bob")
    placed = place(house)

    with pytest.raises(NotFound):
        read(house, placed, "bob")


def test_a_picture_is_no_detection(house: House, ann: str) -> None:
    house.order("ann", 1)

    with pytest.raises(NotFound):
        read(house, house.items()[0].id)


def test_of_many_workers_one_gets_the_photo(house: House, ann: str) -> None:
    place(house)

    answers = all_at_once([lambda name=f"w{n}": claim(house, worker=name) for n in range(6)])  # type: ignore[misc]

    assert sum(isinstance(answer, DetectionClaim) for answer in answers) == 1
    assert answers.count(None) == 5


def test_photos_are_taken_in_the_order_in_which_they_came(house: House, ann: str) -> None:
    second, first = place(house, at_s=2), place(house, at_s=1)

    assert [claimed(house, at_s=3).item_id, claimed(house, at_s=3).item_id] == [first, second]


def test_a_worker_that_lost_its_photo_cannot_write(house: House, ann: str) -> None:
    placed = place(house)
    ghost = claimed(house)
    heal(house, at_s=30)
    heir = claimed(house, worker="w2", at_s=31)

    assert not finish(house, ghost, at_s=32)
    assert not fail(house, ghost, at_s=32)
    assert read(house, placed).status == DetectionStatus.PROCESSING
    assert finish(house, heir, at_s=33)
    assert not fail(house, heir, at_s=34), "a final state is left by nothing"


def test_a_held_photo_is_kept_by_renewing_its_lease(house: House, ann: str) -> None:
    taken = claimed_after_placing(house)
    held = (taken.item_id, taken.attempt)
    with house.database.writing() as session:
        assert renew_leases(session, [held], lease_s=20, now=later(15)) == {held}

    assert heal(house, at_s=30) == Recovered(requeued=0, failed=0)


def test_a_photo_given_back_is_queued_again_without_a_crash(house: House, ann: str) -> None:
    taken = claimed_after_placing(house)

    with house.database.writing() as session:
        assert give_back(session, taken.item_id, taken.attempt, now=later(1))

    item = house.item(taken.item_id)
    assert (item.status, item.crashes, item.extras) == (ItemStatus.QUEUED, 0, {"photoKey": STORED.key})


def test_a_photo_over_which_three_workers_died_is_given_up_with_a_clear_message(house: House, ann: str) -> None:
    placed = place(house)
    entries = house.count(LedgerEntry)
    for death in range(3):
        name, at_s = f"w{death}", 100.0 * death
        house.worker(name, heard=later(at_s))
        claimed(house, worker=name, at_s=at_s)
        done = heal(house, at_s=at_s + 40)
        assert (done.requeued, done.failed) == ((1, 0) if death < 2 else (0, 1))

    told = read(house, placed)
    assert (told.status, told.error_message) == (DetectionStatus.FAILED, detections.GIVEN_UP)
    item = house.item(placed)
    assert (item.error_code, item.extras, item.lease_until) == ("crashed_worker", None, None)
    assert house.count(LedgerEntry) == entries
    house.assert_books_balance()


def test_detections_cost_nothing_and_no_line_or_list_of_pictures_sees_them(house: House, ann: str) -> None:
    before = house.balance("ann")
    place(house)
    order = house.order("ann", 2)

    with house.database.reading() as session:
        assert undrawable(session, ()) == {"tiny": 2}
        assert queued_generations(session, profiles=["tiny", detections.DETECT_PROFILE]) == [order.generation_id]
    assert {taken.kind for taken in house.claim(8)} == {"pose"}
    assert house.balance("ann") == before - 60
    house.assert_books_balance()


def test_a_photo_that_nobody_took_in_an_hour_is_given_up(house: House, ann: str) -> None:
    late, fresh = place(house), place(house, at_s=30)

    with house.database.writing() as session:
        prune(session, now=later(10) + detections.WAITS_FOR)

    told = read(house, late)
    assert (told.status, told.error_message) == (DetectionStatus.FAILED, detections.NOBODY_CAME)
    assert house.item(late).extras is None
    assert read(house, fresh).status == DetectionStatus.QUEUED


@pytest.mark.parametrize("why", ["nobody came", "crashes"])
def test_the_photo_of_a_detection_that_is_given_up_is_deleted(house: House, ann: str, tmp_path: Path, why: str) -> None:
    storage, long_ago = Storage(tmp_path), detections.WAITS_FOR + timedelta(minutes=1)
    stored = detections.store_photo(storage, "ann", check_photo(photo(), file_name="a.jpg"))
    with house.database.writing() as session:
        now = database_now(session)
        detection_id = detections.place_detection(session, "ann", stored, now=now - long_ago)
        if why == "crashes":
            item = session.get_one(WorkItem, detection_id)
            item.status, item.attempt, item.worker, item.drawn_alone = ItemStatus.DRAWING, 3, "w1", True
            item.lease_until, item.alone_crashes = now - long_ago, 2
            report(session, said_by("w1"), now=now - 2 * long_ago)
            session.get_one(WorkerRow, "w1").died_at = now
    bell = Bell("redis://127.0.0.1:1/0")
    upkeep = Upkeep(house.database, storage, keep=None)
    healer = Healer(Announcer(house.database, bell, Links("secret", life_s=60)), every_s=1, upkeep=upkeep)

    healer.heal()

    bell.close()
    assert read(house, detection_id).status == DetectionStatus.FAILED
    with pytest.raises(NotFound):
        storage.get(stored.key)


def test_key_points_are_forgotten_after_a_day(house: House, ann: str) -> None:
    finish(house, claimed_after_placing(house))
    house.order("ann", 1)

    with house.database.writing() as session:
        prune(session, now=later(0) + detections.KEPT_FOR)
    assert house.count(WorkItem) == 2
    with house.database.writing() as session:
        prune(session, now=later(2) + detections.KEPT_FOR)

    assert [item.kind for item in house.items()] == ["pose"]


def test_without_a_detector_it_says_what_each_worker_lacks_and_what_to_fetch(house: House, tmp_path: Path) -> None:
    worker(house, said_by("w1", detector=None, reason="no weights: none"))
    house.worker("w2")

    with house.database.reading() as session, pytest.raises(NoDetector) as refused:
        detections.require_detector(session, tmp_path, now=later(1))

    assert refused.value.reasons == ("w1: no weights: none", "w2: is starting")
    assert f"hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --local-dir {tmp_path}" in refused.value.to_do


def test_every_live_worker_is_rung_since_one_without_a_detector_may_hear_it(house: House, tmp_path: Path) -> None:
    worker(house, said_by("w1"))
    house.worker("w2")

    with house.database.reading() as session:
        assert detections.require_detector(session, tmp_path, now=later(1)) == 2
        with pytest.raises(NoDetector):
            detections.require_detector(session, tmp_path, now=later(0) + timedelta(minutes=1))


def test_a_waiting_photo_is_rung_for_again_when_a_live_worker_can_detect(sqlite_house: House, redis_url: str) -> None:
    bell = Bell(redis_url)
    announcer = Announcer(sqlite_house.database, bell, Links("s" * 40, life_s=60))
    sqlite_house.customer("ann")
    try:
        with announcer.writing() as session:
            detections.place_detection(session, "ann", STORED, now=database_now(session))
        assert reconcile_once(announcer, witness_since=None).rung == 0, "nobody could help"
        with announcer.writing() as session:
            report(session, said_by("w1"), now=database_now(session))
        assert reconcile_once(announcer, witness_since=None).rung == 1
        assert bell.waiting() == 1
    finally:
        bell.close()


def test_the_photo_is_stored_under_a_name_that_tells_nothing_of_its_user(tmp_path: Path) -> None:
    storage = Storage(tmp_path)

    stored = detections.store_photo(storage, "ann", check_photo(photo(), file_name="a.jpg"))

    assert storage.get(stored.key)[:3] == b"\xff\xd8\xff"
    assert (stored.width_px, stored.height_px) == (640, 512)
    assert "ann" not in stored.key
