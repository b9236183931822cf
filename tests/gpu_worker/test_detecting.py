"""Photos beside the pictures: found by a real detector, and whatever it does, the worker goes on."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from support.detectors import PLACES, write_rtmlib
from support.house import House
from support.photos import photo
from support.waiting import wait_until

import gpu_worker.detecting
from gpu_worker.desk import Desk
from gpu_worker.detecting import DETECT_S, Detecting, pose_of
from gpu_worker.engine_thread import EngineThread
from gpu_worker.finisher import Finisher
from gpu_worker.hands import Hands
from gpu_worker.keeper import Keeper
from gpu_worker.meter import Meter
from gpu_worker.shared_detector import SharedDetector, detector_in
from models.detectors.people import FoundPerson, FoundPoint
from models.fake import FakeEngine
from models.profiles import TINY
from posegen import detections
from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.database import Database, database_now
from posegen.leases import Claimant
from posegen.statuses import DetectionStatus, WorkerStatus
from posegen.storage import Links, Storage
from posegen.uploads import check_photo
from posegen.workforce import WorkerReport


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Room:
    """A worker's parts around one detector."""

    house: House
    announcer: Announcer
    storage: Storage
    folder: Path
    desk: Desk
    clock: Clock
    engine: FakeEngine
    thread: EngineThread
    detector: SharedDetector
    detecting: Detecting
    hands: Hands

    def upload(self) -> str:
        stored = detections.store_photo(self.storage, "ann", check_photo(photo(), file_name=None))
        with self.announcer.writing() as session:
            return detections.place_detection(session, "ann", stored, now=database_now(session))

    def read(self, detection_id: str) -> detections.Detection:
        with self.announcer.database.reading() as session:
            return detections.detection_of(session, "ann", detection_id)

    def wait_for(self, detection_id: str, status: DetectionStatus) -> detections.Detection:
        wait_until(lambda: self.read(detection_id).status == status, message=lambda: str(self.read(detection_id)))
        wait_until(lambda: not self.detecting.is_busy())
        return self.read(detection_id)

    def photos(self) -> list[Path]:
        return [file for file in self.folder.rglob("*") if file.is_file() and "detections" in file.parts]

    def lend(self, detect: Callable[[Image.Image], Sequence[FoundPerson]]) -> None:
        """Put a detector of the test in the place of the real one."""

        class Lent:
            name = "lent"

            def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
                return detect(photo)

        self.detector._detector = Lent()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    write_rtmlib(tmp_path / "detectors")
    return tmp_path / "detectors"


@pytest.fixture
def room(sqlite_url: str, redis_url: str, weights: Path, tmp_path: Path) -> Iterator[Room]:
    database, bell = Database(sqlite_url), Bell(redis_url)
    house = House(database)
    house.customer("ann")
    announcer = Announcer(database, bell, Links("s" * 40, life_s=3600))
    storage = Storage(tmp_path / "storage")
    clock = Clock()
    desk = Desk(clock)
    engine = FakeEngine(TINY, 4, 0.005)
    finisher = Finisher(announcer, storage, desk, worker="w1", profile=TINY)
    thread = EngineThread(engine, desk, Meter(), finisher.take)
    claimant = Claimant(worker="w1", profile="tiny", lease_s=20)
    detector = detector_in(weights, device="cpu")
    detecting = Detecting(announcer, storage, desk, claimant, detector, on_card_failure=thread.fail)
    hands = Hands(announcer, claimant, desk, thread, finisher, detecting)
    thread.start()
    detecting.start()
    yield Room(house, announcer, storage, tmp_path / "storage", desk, clock, engine, thread, detector, detecting, hands)
    hands.begin_drain()
    thread.stop()
    assert detecting.end(within_s=10)
    thread.join(10)
    finisher.close()
    bell.close()
    database.close()


def a_person(photo: Image.Image) -> Sequence[FoundPerson]:
    return [FoundPerson(body=(FoundPoint(photo.width / 2, photo.height / 4, 0.8), *(None,) * 17))]


def test_a_ring_turns_a_photo_into_key_points_and_deletes_it(room: Room) -> None:
    placed = room.upload()
    assert len(room.photos()) == 1

    room.hands.draw(placed)

    pose = room.wait_for(placed, DetectionStatus.COMPLETED).pose
    assert pose is not None
    assert pose["canvas_width"] / pose["canvas_height"] == 640 / 512
    (person,) = pose["people"]
    nose = person["pose_keypoints_2d"][:3]
    assert nose == pytest.approx([PLACES[0][0] / 640, PLACES[0][1] / 512, 0.9], abs=0.01)
    assert len(person["face_keypoints_2d"]) == 3 * 70
    assert person["hand_right_keypoints_2d"] is None
    assert room.photos() == []
    room.house.assert_books_balance()


def test_a_burst_looks_at_every_photo_and_draws_every_picture(room: Room) -> None:
    order = room.house.order("ann", 2)
    placed = [room.upload() for _ in range(2)]

    room.hands.draw_everything()

    assert {room.read(one).status for one in placed} == {DetectionStatus.COMPLETED}
    assert room.house.generation(order.generation_id).poses_completed == 2


def test_pictures_are_drawn_while_a_photo_is_looked_at(room: Room) -> None:
    go_on = threading.Event()
    room.lend(lambda photo: a_person(photo) if go_on.wait(30) else [])
    placed = room.upload()
    order = room.house.order("ann", 4)

    room.hands.draw(placed)
    wait_until(lambda: room.house.generation(order.generation_id).poses_completed == 4)
    assert room.read(placed).status == DetectionStatus.PROCESSING

    go_on.set()
    room.wait_for(placed, DetectionStatus.COMPLETED)


def test_a_photo_without_people_says_so(room: Room) -> None:
    room.lend(lambda photo: [])
    placed = room.upload()

    room.hands.draw(placed)

    told = room.wait_for(placed, DetectionStatus.FAILED)
    assert told.error_message == gpu_worker.detecting.NOBODY_MESSAGE
    assert room.photos() == []


def test_a_detector_that_breaks_on_one_photo_reads_the_next(room: Room) -> None:
    def breaks(photo: Image.Image) -> Sequence[FoundPerson]:
        raise ZeroDivisionError

    room.lend(breaks)
    placed = room.upload()
    room.hands.draw(placed)
    told = room.wait_for(placed, DetectionStatus.FAILED)
    assert told.error_message == gpu_worker.detecting.BROKEN_MESSAGE

    room.lend(a_person)
    again = room.upload()
    room.hands.draw(again)
    room.wait_for(again, DetectionStatus.COMPLETED)


def test_a_photo_that_is_gone_from_the_store_fails_alone(room: Room) -> None:
    placed = room.upload()
    room.photos()[0].unlink()

    room.hands.draw(placed)

    assert room.wait_for(placed, DetectionStatus.FAILED).error_message == gpu_worker.detecting.STORAGE_MESSAGE


def test_a_detector_that_cannot_be_loaded_fails_its_photo_and_the_row_says_why(room: Room, weights: Path) -> None:
    (weights / "yolox_l.onnx").write_bytes(b"no model")
    placed, later = room.upload(), room.upload()

    room.hands.draw(placed)

    assert room.wait_for(placed, DetectionStatus.FAILED).error_message == gpu_worker.detecting.UNUSABLE_MESSAGE
    assert room.read(later).status == DetectionStatus.QUEUED, "another worker may have a better one"
    said = room.detecting.capability()
    assert said["detector"] is None
    assert "rtmlib does not work" in said["reason"]
    order = room.house.order("ann", 1)
    room.hands.draw_everything()
    assert room.house.generation(order.generation_id).poses_completed == 1


def test_a_worker_without_weights_says_so_and_takes_no_photo(room: Room, tmp_path: Path) -> None:
    claimant = Claimant(worker="w2", profile="tiny", lease_s=20)
    blind = Detecting(
        *(room.announcer, room.storage, room.desk, claimant, detector_in(tmp_path / "nothing", device="cpu")),
        on_card_failure=room.thread.fail,
    )
    blind.start()
    placed = room.upload()

    blind.wake()

    assert not blind.is_busy()
    assert blind.end(within_s=5)
    assert room.read(placed).status == DetectionStatus.QUEUED
    assert str(blind.capability()["reason"]).startswith("no weights: rtmlib: yolox_l.onnx")


def test_a_drain_gives_the_photo_back_and_what_is_found_afterwards_is_not_written(room: Room) -> None:
    go_on = threading.Event()
    room.lend(lambda photo: a_person(photo) if go_on.wait(30) else [])
    placed = room.upload()
    room.hands.draw(placed)
    wait_until(room.desk.detection)

    room.hands.begin_drain()
    assert room.hands.give_back() == 1

    assert room.read(placed).status == DetectionStatus.QUEUED
    go_on.set()
    wait_until(lambda: not room.detecting.is_busy())
    assert room.read(placed).status == DetectionStatus.QUEUED
    assert len(room.photos()) == 1, "the next worker needs it"
    assert room.house.item(placed).crashes == 0


def test_a_photo_during_which_the_card_breaks_ends_the_worker_and_goes_back_as_its_crash(room: Room) -> None:
    """The engine beside the detector has lost its card, too; no other photo is looked at with it."""

    def broken(photo: Image.Image) -> Sequence[FoundPerson]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    room.detector.device = "cuda:0"
    room.lend(broken)
    placed, other = room.upload(), room.upload()
    room.hands.draw(placed)
    wait_until(room.thread.failed.is_set)

    assert room.hands.give_back() == 1

    items = [room.house.item(photo) for photo in (placed, other)]
    assert [(item.status, item.crashes, item.alone_crashes) for item in items] == [("queued", 1, 1), ("queued", 0, 0)]
    assert len(room.photos()) == 2, "the next worker needs them"


def test_a_detector_that_hangs_is_given_up_and_its_photo_failed(room: Room) -> None:
    go_on = threading.Event()
    room.lend(lambda photo: a_person(photo) if go_on.wait(30) else [])
    placed = room.upload()
    room.hands.draw(placed)
    wait_until(room.desk.detection)

    room.hands.end_overdue_detection()
    assert room.read(placed).status == DetectionStatus.PROCESSING
    room.clock.now += DETECT_S
    room.hands.end_overdue_detection()

    assert room.read(placed).status == DetectionStatus.FAILED
    assert "it hung" in str(room.detecting.capability()["reason"])
    assert room.photos() == []
    go_on.set()
    wait_until(lambda: not room.detecting.is_busy())
    assert room.read(placed).status == DetectionStatus.FAILED, "it came too late"


def test_the_lease_of_a_photo_is_renewed_while_it_is_looked_at(room: Room) -> None:
    go_on = threading.Event()
    room.lend(lambda photo: a_person(photo) if go_on.wait(30) else [])
    placed = room.upload()
    room.hands.draw(placed)
    wait_until(room.desk.detection)
    before = room.house.item(placed).lease_until
    assert before is not None

    def state() -> WorkerReport:
        return WorkerReport(
            name="w1", host="here", pid=1, device="cpu", device_name=None, profile="tiny",
            status=WorkerStatus.READY, max_batch=4, capabilities={"detect": room.detecting.capability()},
        )  # fmt: skip

    keeper = Keeper(room.announcer.database, state, lease_s=60)
    keeper.watch(room.desk, room.thread, room.hands)
    keeper.start()
    try:
        wait_until(lambda: (room.house.item(placed).lease_until or before) > before)
    finally:
        keeper.end()
        keeper.join(10)
        go_on.set()
    room.wait_for(placed, DetectionStatus.COMPLETED)


def test_points_far_outside_of_the_photo_are_missing_and_the_ninth_person_is_left_out() -> None:
    seen, far = FoundPoint(320, 100, 1.7), FoundPoint(320, 100_000, 0.9)
    person = FoundPerson(body=(seen, far, *(None,) * 16), face=(seen,) * 68)
    nowhere = FoundPerson(body=(far, *(None,) * 17))

    pose = pose_of([nowhere, *[person] * 9], (640, 512))

    assert pose is not None
    assert len(pose.people) == 8
    assert pose.people[0].body[1] is None
    nose = pose.people[0].body[0]
    assert nose is not None
    assert (nose.x, round(nose.y, 3), nose.c) == (0.5, 0.195, 1.0)
    assert pose.people[0].face is not None
    assert pose.people[0].face[68:] == (None, None)
    assert pose_of([nowhere], (640, 512)) is None
