"""rtmlib's own classes on ONNX models whose answer is known: left is left, and nobody is nobody."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.detectors import BOX, PEOPLE_SIDE_PX, PLACES, write_constant_model, write_rtmlib

from models.detectors.opening import open_detector
from models.detectors.people import FoundPerson, FoundPoint
from models.detectors.weights import RTMLIB, FoundWeights
from models.detectors.wholebody import person_of
from models.errors import DetectorFailed

PHOTO = Image.new("RGB", (640, 512), "grey")
NEAR_PX = 4.0
"""The whole-body model's picture is coarse: a step of it is 2.5 px of the photo."""
COCO_18 = {  # by name, from COCO-WholeBody's numbers
    "nose": (0, 0), "right shoulder": (2, 6), "right elbow": (3, 8), "right wrist": (4, 10), "left shoulder": (5, 5),
    "left elbow": (6, 7), "left wrist": (7, 9), "right hip": (8, 12), "right ankle": (10, 16), "left hip": (11, 11),
    "left ankle": (13, 15), "right eye": (14, 2), "left eye": (15, 1),
}  # fmt: skip


def detect(folder: Path, photo: Image.Image = PHOTO) -> list[FoundPerson]:
    found = FoundWeights(weights=RTMLIB, paths=(folder / "yolox_l.onnx", folder / "dw-ll_ucoco_384.onnx"))
    return list(open_detector(found, device="cpu").detect(photo))


def assert_near(point: FoundPoint | None, place: tuple[float, float], name: str) -> None:
    assert point is not None, name
    assert abs(point.x_px - place[0]) <= NEAR_PX, name
    assert abs(point.y_px - place[1]) <= NEAR_PX, name


def test_every_point_comes_to_its_own_name_and_place(tmp_path: Path) -> None:
    write_rtmlib(tmp_path)

    (person,) = detect(tmp_path)

    for name, (ours, theirs) in COCO_18.items():
        assert_near(person.body[ours], PLACES[theirs], name)
    assert_near(person.body[1], (320.0, 160.0), "neck, between the shoulders")
    assert [index for index, point in enumerate(person.body) if point is None] == [9, 12, 16, 17]
    assert person.hand_left is not None
    for point in range(21):
        assert_near(person.hand_left[point], PLACES[91 + point], f"left hand {point}")
    assert person.hand_right is None
    assert person.face is not None
    assert len(person.face) == 68
    assert_near(person.face[67], PLACES[90], "the last point of the face")
    assert person.body[0] is not None
    assert person.body[0].c == pytest.approx(0.9)


def test_each_person_is_found_in_a_box_of_its_own_and_a_box_without_points_is_nobody(tmp_path: Path) -> None:
    right = (BOX[0] + 100, *BOX[1:2], BOX[2] + 100, BOX[3])
    write_rtmlib(tmp_path, boxes=[BOX, right])

    people = detect(tmp_path)

    noses = sorted(person.body[0].x_px for person in people if person.body[0] is not None)
    assert noses == pytest.approx([320.0, 420.0], abs=NEAR_PX)

    write_rtmlib(tmp_path, c=0.2)
    assert detect(tmp_path) == [], "nothing of it is sure enough"


def test_a_photo_without_people_is_not_taken_for_one_person(tmp_path: Path) -> None:
    write_rtmlib(tmp_path)
    nobody = np.array([[[0, 0, 64, 64, 0.05]]], dtype=np.float32)
    write_constant_model(tmp_path / "yolox_l.onnx", (PEOPLE_SIDE_PX, PEOPLE_SIDE_PX), {"dets": nobody})

    assert detect(tmp_path) == []


def test_a_model_that_knows_many_kinds_of_things_finds_people_only(tmp_path: Path) -> None:
    """The layout of yolox_l.onnx: 80 kinds, and boxes told from the middle of each cell of three grids."""
    write_rtmlib(tmp_path)
    cells = sum((PEOPLE_SIDE_PX // stride) ** 2 for stride in (8, 16, 32))
    told = np.zeros((1, cells, 85), dtype=np.float32)
    ratio = PEOPLE_SIDE_PX / 640
    for row, kind, shift in ((0, 0, 0.0), (1, 16, 100.0)):  # a person, and a dog beside it
        centre = ((BOX[0] + BOX[2]) / 2 + shift, (BOX[1] + BOX[3]) / 2)
        size = (BOX[2] - BOX[0], BOX[3] - BOX[1])
        told[0, row, :2] = np.array(centre) * ratio / 8 - (row, 0)
        told[0, row, 2:4] = np.log(np.array(size) * ratio / 8)
        told[0, row, 4] = told[0, row, 5 + kind] = 0.95
    write_constant_model(tmp_path / "yolox_l.onnx", (PEOPLE_SIDE_PX, PEOPLE_SIDE_PX), {"output": told})

    (person,) = detect(tmp_path)

    assert_near(person.body[0], PLACES[0], "nose")


def test_a_broken_file_is_said_to_be_one(tmp_path: Path) -> None:
    write_rtmlib(tmp_path)
    (tmp_path / "dw-ll_ucoco_384.onnx").write_bytes(b"no model")

    with pytest.raises(DetectorFailed, match="rtmlib failed"):
        detect(tmp_path)


def test_a_missing_file_is_never_downloaded(tmp_path: Path) -> None:
    write_rtmlib(tmp_path)
    (tmp_path / "yolox_l.onnx").unlink()

    with pytest.raises(DetectorFailed, match="is not there"):
        detect(tmp_path)


def test_loading_says_nothing_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rtmlib(tmp_path)
    detect(tmp_path)

    assert capsys.readouterr().out == ""


def test_a_neck_needs_both_shoulders_and_is_as_sure_as_the_less_sure_one() -> None:
    points: list[FoundPoint | None] = [None] * 133
    points[5] = FoundPoint(30.0, 10.0, 0.9)
    one_sided = person_of(points)
    points[6] = FoundPoint(10.0, 20.0, 0.5)
    whole = person_of(points)

    assert one_sided is not None
    assert one_sided.body[1] is None
    assert whole is not None
    assert whole.body[1] == FoundPoint(20.0, 15.0, 0.5)
