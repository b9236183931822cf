"""controlnet-aux's own networks with weights in the real files' layout, made so that the answer is known."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.detectors import coloured_dots, write_openpose

from models.detectors.opening import open_detector
from models.detectors.people import FoundPerson
from models.detectors.weights import OPENPOSE, FoundWeights
from models.errors import DetectorFailed

if TYPE_CHECKING:
    from models.detectors.openpose import OpenPoseDetector

HEAD = ((256, 60), (256, 160))
ARMS = ((160, 160), (60, 200), (60, 290), (352, 160), (452, 200), (452, 290))
LEGS = ((200, 300), (180, 380), (160, 460), (312, 300), (332, 380), (352, 460))
FACE = ((190, 40), (322, 40), (130, 80), (382, 80))
PLACES: tuple[tuple[float, float], ...] = (*HEAD, *ARMS, *LEGS, *FACE)
"""COCO-18 in a photo of 512x512; the person's right is to the viewer's left."""
FACELESS = (3, 40)
NEAR_PX = 16.0
"""The networks see a 22 px high map of a photo."""


class Brightest(torch.nn.Module):
    """In the place of the hand network, which takes most of a minute on a CPU: every point is the brightest spot."""

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        bright = torch.nn.functional.avg_pool2d(pictures.mean(dim=1, keepdim=True) + 0.5, 8)
        maps = (bright * self.share).repeat(1, 22, 1, 1)
        maps[:, 7] = 0  # a point that is not seen
        return maps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("openpose")
    write_openpose(made, PLACES, faceless=FACELESS)
    yield made
    for file in made.iterdir():
        file.unlink()  # a hundred megabytes


def opened(folder: Path) -> "OpenPoseDetector":
    paths = tuple(folder / file.name for file in OPENPOSE.files)
    detector: Any = open_detector(FoundWeights(weights=OPENPOSE, paths=paths), device="cpu")
    return detector  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def people(folder: Path) -> list[FoundPerson]:
    detector = opened(folder)
    detector._hand.model = Brightest()
    photo = coloured_dots(PLACES).resize((1024, 1024), Image.Resampling.LANCZOS)
    return list(detector.detect(photo))


def test_every_point_of_the_body_comes_to_its_own_name_and_place(people: list[FoundPerson]) -> None:
    (person,) = people

    for index, (point, place) in enumerate(zip(person.body, PLACES, strict=True)):
        assert point is not None, index
        found = np.array([point.x_px, point.y_px])
        assert np.abs(found - 2 * np.array(place)).max() <= 2 * NEAR_PX, (index, point, place)
        assert 0 < point.c <= 1


def test_hands_are_looked_for_at_their_own_wrists_and_a_missing_point_is_missing(people: list[FoundPerson]) -> None:
    (person,) = people

    for hand, wrist in ((person.hand_right, PLACES[4]), (person.hand_left, PLACES[7])):
        assert hand is not None
        assert [index for index, point in enumerate(hand) if point is None] == [7]
        assert hand[0] is not None
        assert abs(hand[0].x_px - 2 * wrist[0]) < 200
        assert abs(hand[0].y_px - 2 * wrist[1]) < 200


def test_points_of_the_face_that_are_missed_do_not_shift_the_others(people: list[FoundPerson]) -> None:
    (person,) = people

    assert person.face is not None
    assert len(person.face) == 70
    assert tuple(index for index, point in enumerate(person.face) if point is None) == FACELESS
    assert {point.c for point in person.face if point is not None} == {0.5}


def test_an_empty_photo_has_nobody(folder: Path) -> None:
    assert list(opened(folder).detect(Image.new("RGB", (512, 512)))) == []


class Evil:
    """A pickle that runs something when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return Path.touch, (Path(EVIL_MARK),)  # type: ignore[return-value]


EVIL_MARK = "was-run"


def test_weights_with_code_in_them_are_refused_and_nothing_of_it_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "facenet.pth"
    torch.save({"conv1_1.weight": Evil()}, evil, _use_new_zipfile_serialization=False)
    for file in OPENPOSE.files[:2]:
        (tmp_path / file.name).symlink_to(folder / file.name)

    with pytest.raises(DetectorFailed, match=r"facenet\.pth is not the weights it should be, or holds code"):
        opened(tmp_path)

    assert not (tmp_path / EVIL_MARK).exists()
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / EVIL_MARK).exists(), "it would have run"


def test_weights_of_something_else_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in OPENPOSE.files:
        (tmp_path / file.name).symlink_to(folder / "facenet.pth")

    with pytest.raises(DetectorFailed, match=r"body_pose_model\.pth is not the weights"):
        opened(tmp_path)


def test_the_package_around_it_is_never_imported(folder: Path) -> None:
    """It imports every annotator, needs seconds for it, and breaks beside a current mediapipe."""
    opened(folder)

    assert "controlnet_aux" not in sys.modules
    assert "controlnet_aux.dwpose" not in sys.modules
