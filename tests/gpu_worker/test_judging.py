"""A score is a gift: a real detector gives it, and whatever a detector does, the picture is delivered."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from support.detectors import PLACES, write_rtmlib
from support.house import PEOPLE, SIZE
from support.judging import Looker
from support.waiting import wait_until

from gpu_worker.detecting import pose_of
from gpu_worker.engine_choice import LoadedEngine
from gpu_worker.judging import Judge, judge_of
from gpu_worker.shared_detector import SharedDetector, detector_in
from models.detectors.people import FoundPerson
from models.errors import CardFailed, DetectorFailed
from models.fake import FakeEngine
from models.profiles import FLUX1_DEV, MANNEQUIN, TINY, Profile
from posegen.bell import Bell
from posegen.database import Database
from posegen.poses import pose_to_openpose
from posegen.settings import Settings

from .conftest import Bench, bench_around

PICTURE = Image.new("RGB", SIZE)
Judges = Callable[..., Judge]


class Lent:
    """A detector that does what the test says."""

    name = "lent"

    def __init__(self, detect: Callable[[Image.Image], Sequence[FoundPerson]]) -> None:
        self.detect = detect


class Stuck:
    """A detector that looks until it is told to go on."""

    name = "stuck"

    def __init__(self) -> None:
        self.looking, self.go_on = threading.Event(), threading.Event()

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        self.looking.set()
        self.go_on.wait(60)
        return []


@pytest.fixture
def failures() -> list[CardFailed]:
    return []


@pytest.fixture
def judges(failures: list[CardFailed]) -> Iterator[Judges]:
    """Makes judges, started, and sees that they end."""
    with ExitStack() as stack:

        def make(detector: Any, **times: float) -> Judge:
            shared = detector if isinstance(detector, SharedDetector) else None
            shared = shared or SharedDetector(detector.name, lambda: detector, device="cpu")
            judge = Judge(shared, on_card_failure=failures.append, **times)
            judge.start()
            stack.callback(judge.end, within_s=60)
            return judge

        yield make


@pytest.fixture
def told() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


def a_pose(places: dict[int, tuple[float, float]], size: tuple[int, int]) -> dict[str, Any]:
    """Return those of COCO-WholeBody's places that are of a body, as an OpenPose document of 17 points."""
    flat = [value for at in range(17) for value in ((*places[at], 1.0) if at in places else (0.0, 0.0, 0.0))]
    return {"people": [{"pose_keypoints_2d": flat}], "canvas_width": size[0], "canvas_height": size[1]}


def test_a_real_detector_scores_what_it_finds(judges: Judges, tmp_path: Path) -> None:
    """rtmlib with models that see the same person everywhere: asked for, it is a hit; another pose is none."""
    write_rtmlib(tmp_path)
    judge = judges(detector_in(tmp_path, device="cpu"), patience_s=120, hung_s=240)
    photo = Image.new("RGB", (640, 512))
    mirrored = {at: (640 - x, y) for at, (x, y) in PLACES.items()}

    hit, missed = (judge.score(photo, a_pose(places, photo.size)) for places in (PLACES, mirrored))

    assert hit is not None
    assert missed is not None
    assert hit > 0.95
    assert missed < 0.3


def test_the_mannequins_own_detector_judges_what_it_finds(judges: Judges, tmp_path: Path) -> None:
    """Its real network with weights by lot sees joints in noise: those are a hit, and turned over they are not."""
    import torch
    from mannequin_detector import write_detector

    from models.mannequin.detector import MannequinDetector, Network

    torch.manual_seed(1)
    write_detector(tmp_path, Network())
    detector = MannequinDetector(tmp_path)
    noise = Image.effect_noise((128, 128), 90.0).convert("RGB")
    seen = pose_of(detector.detect(noise), noise.size)
    assert seen is not None
    judge = judges(detector, patience_s=120, hung_s=240)

    assert judge.score(noise, pose_to_openpose(seen)) == pytest.approx(1, abs=1e-4)
    turned = noise.transpose(Image.Transpose.ROTATE_180)
    assert (judge.score(turned, pose_to_openpose(seen)) or 0.0) < 0.9


def test_pictures_are_judged_in_their_own_shape(judges: Judges) -> None:
    """The pose stands on a square; on a picture twice as wide its joints are where the control map had them."""
    judge = judges(Looker(0.0), patience_s=60)

    assert judge.score(Image.new("RGB", (256, 128)), PEOPLE) == 1


def test_a_detector_that_finds_one_person_does_not_judge_several(judges: Judges) -> None:
    single = SharedDetector("lent", lambda: Looker(0.0), device="cpu", most_people=1)
    judge = judges(single, patience_s=60)
    pair = {**PEOPLE, "people": PEOPLE["people"] * 2}

    assert judge.score(PICTURE, pair) is None
    assert judge.score(PICTURE, PEOPLE) == 1


def test_a_detector_that_breaks_gives_no_score_and_is_told_of_once(judges: Judges, told: list[Any]) -> None:
    def breaks(_photo: Image.Image) -> Sequence[FoundPerson]:
        raise DetectorFailed("lent", "no memory")

    judge = judges(Lent(breaks), patience_s=60)

    assert [judge.score(PICTURE, PEOPLE) for _ in range(3)] == [None] * 3
    assert [entry["event"] for entry in told if entry["log_level"] == "warning"] == ["judge.failed"]


def test_a_detector_that_cannot_be_loaded_is_not_tried_again(judges: Judges, told: list[Any]) -> None:
    tries = []

    def opens() -> Lent:
        tries.append(1)
        raise DetectorFailed("lent", "its file is broken")

    judge = judges(SharedDetector("lent", opens, device="cpu"), patience_s=60)

    assert [judge.score(PICTURE, PEOPLE) for _ in range(2)] == [None, None]
    assert tries == [1]
    assert [entry["event"] for entry in told] == ["detect.lost", "judge.lost"]


def test_nobody_found_is_a_score_of_0(judges: Judges) -> None:
    assert judges(Lent(lambda photo: []), patience_s=60).score(PICTURE, PEOPLE) == 0


def test_a_picture_does_not_wait_long_for_a_slow_detector_and_one_that_hangs_is_given_up(
    judges: Judges, told: list[Any]
) -> None:
    stuck = Stuck()
    detector = SharedDetector("stuck", lambda: stuck, device="cpu")
    judge = judges(detector, patience_s=0.02, hung_s=0.05)

    assert judge.score(PICTURE, PEOPLE) is None
    wait_until(lambda: judge.score(PICTURE, PEOPLE) is None and not detector.is_able, timeout_s=60)

    assert "it hung" in str(detector.why_not)
    assert [entry["event"] for entry in told if entry["event"] == "judge.late"] == ["judge.late"]
    stuck.go_on.set()


def test_a_slow_detector_is_not_asked_while_finishing_is_behind(judges: Judges) -> None:
    slow = judges(Looker(0.0, at_look=lambda look: threading.Event().wait(0.3)), patience_s=60)
    assert [slow.score(PICTURE, PEOPLE) for _ in range(2)] == [1, 1]

    assert slow.score(PICTURE, PEOPLE, is_behind=True) is None
    assert slow.score(PICTURE, PEOPLE) == 1


def test_a_card_that_breaks_under_the_detector_ends_the_worker(judges: Judges, failures: list[CardFailed]) -> None:
    def broken(_photo: Image.Image) -> Sequence[FoundPerson]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    detector = SharedDetector("lent", lambda: Lent(broken), device="cuda:0")
    judge = judges(detector, patience_s=60)

    assert [judge.score(PICTURE, PEOPLE) for _ in range(2)] == [None, None]
    assert not detector.is_able, "a broken card is not asked again"
    assert [(failure.device, failure.by_itself) for failure in failures] == [("cuda:0", False)]


def test_a_leaving_worker_waits_for_no_score(judges: Judges) -> None:
    stuck = Stuck()
    judge = judges(stuck, patience_s=600, hung_s=600)
    scores: list[float | None] = []
    waiting = threading.Thread(target=lambda: scores.append(judge.score(PICTURE, PEOPLE)))
    waiting.start()
    assert stuck.looking.wait(60)

    judge.hurry()
    waiting.join(60)

    assert scores == [None]
    stuck.go_on.set()


def test_a_picture_waits_its_turn_beside_a_photo_but_not_for_ever(judges: Judges) -> None:
    """One detector, one thread at a time: while it looks at a photo, a picture goes without a score."""
    stuck = Stuck()
    detector = SharedDetector("stuck", lambda: stuck, device="cpu")
    photo = threading.Thread(target=detector.people, args=(PICTURE,))
    photo.start()
    assert stuck.looking.wait(60)

    assert judges(detector, patience_s=0.05).score(PICTURE, PEOPLE) is None

    stuck.go_on.set()
    photo.join(60)
    assert detector.is_able


@pytest.fixture
def around(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:
        database, bell = Database(sqlite_url), Bell(redis_url)
        stack.callback(database.close)
        stack.callback(bell.close)
        yield lambda engine, **more: stack.enter_context(bench_around(engine, database, bell, tmp_path, **more))


def drawn_by(bench: Bench, **asked: Any) -> Any:
    placed = bench.house.order("ann", 1, **asked)
    bench.thread.start()
    bench.hands.draw_everything()
    return bench.house.pictures(placed.generation_id)[0]


def test_a_real_engine_and_a_real_detector_give_a_score(around: Callable[..., Bench], tmp_path: Path) -> None:
    from models.detectors.opening import open_detector
    from models.detectors.weights import find_weights
    from models.loading import load_engine

    write_rtmlib(tmp_path / "detectors")
    engine = load_engine("tiny", device="cpu", cache_dir=tmp_path)
    bench = around(engine, detector=open_detector(find_weights(tmp_path / "detectors"), device="cpu"))

    picture = drawn_by(bench, steps=2)

    assert picture.ai_confidence_score is not None
    assert 0 <= picture.ai_confidence_score <= 1
    bench.house.assert_books_balance()


def test_a_picture_drawn_without_its_pose_has_no_score(around: Callable[..., Bench]) -> None:
    looker = Looker(0.0)
    bench = around(FakeEngine(TINY, 4), detector=looker)

    picture = drawn_by(bench, control_scale=0.0)

    assert (picture.pose_applied, picture.ai_confidence_score, looker.looks) == (False, None, 0)


def settings(**more: Any) -> Settings:
    return Settings(_env_file=None, jwt_secret="s" * 40, **more)  # type: ignore[call-arg, arg-type]


def loaded(profile: Profile, device: str) -> LoadedEngine:
    return LoadedEngine(engine=FakeEngine(profile, 1), device=device, device_name=None)


@pytest.mark.parametrize(
    ("profile", "device", "detector", "detectors_device", "wanted", "judged"),
    [
        (FLUX1_DEV, "cuda:0", "rtmlib", "cuda:0", "auto", True),
        (FLUX1_DEV, "hosted", "rtmlib", "cpu", "auto", True),
        (FLUX1_DEV, "cuda:0", "openpose", "cuda:0", "auto", True),
        (FLUX1_DEV, "hosted", "openpose", "cpu", "auto", False),
        (FLUX1_DEV, "hosted", "openpose", "cpu", "on", True),
        (FLUX1_DEV, "cuda:0", "rtmlib", "cuda:0", "off", False),
        (FLUX1_DEV, "cuda:0", None, "cuda:0", "on", False),
        (FLUX1_DEV, "fake:0.1", "rtmlib", "cpu", "on", False),
        (TINY, "cpu", "rtmlib", "cpu", "on", False),
        (MANNEQUIN, "cpu", None, "cpu", "auto", True),
        (MANNEQUIN, "cpu", "rtmlib", "cpu", "off", False),
    ],
)
def test_pictures_are_judged_where_a_detector_is_worth_asking(
    profile: Profile, device: str, detector: str | None, detectors_device: str, wanted: str, judged: bool
) -> None:
    why_not = None if detector else "no weights"
    photos = SharedDetector(detector, lambda: Looker(0.0), device=detectors_device, why_not=why_not)

    judge = judge_of(loaded(profile, device), photos, settings(pose_scores=wanted), on_card_failure=lambda error: None)

    assert (judge is not None) is judged


def test_a_worker_that_cannot_draw_again_as_it_should_says_so(told: list[Any]) -> None:
    nothing = SharedDetector(None, lambda: Looker(0.0), device="cpu", why_not="no weights")

    judge_of(loaded(FLUX1_DEV, "cuda:0"), nothing, settings(redraw_below=0.5), on_card_failure=lambda error: None)

    assert [entry["event"] for entry in told] == ["redraw.no_detector"]
