"""The built-in detector's own network, taught to find a dot in seconds: what it finds is told in the photo's pixels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mannequin_detector import heat_maps, write_detector
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits

from models.detectors.people import BODY_POINTS, PoseDetector
from models.errors import DetectorFailed
from models.mannequin.detector import SIDE_PX, MannequinDetector, Network, packed, unpacked

NEAR_PX = 4.0
"""A cell of the network's heat map, in the network's own picture."""
UNSEEN = 0
"""A point that the network is made blind for; it is the same point in a mirror."""


def dotted(width: int, height: int, x: float, y: float, *, radius: float) -> NDArray[np.uint8]:
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    dot = (across - x) ** 2 + (down - y) ** 2 <= radius**2
    return np.where(dot[..., None], np.uint8(250), np.uint8(90)).repeat(3, axis=2)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a detector that finds a bright dot, all points in the same place."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    seen = np.ones((4, BODY_POINTS), bool)
    seen[-1] = False  # the last picture has no dot
    for _ in range(45):
        places = rng.uniform(10, SIDE_PX - 10, (4, 2)).astype(np.float32)
        pictures = np.stack([dotted(SIDE_PX, SIDE_PX, x, y, radius=5) for x, y in places])
        pictures[-1] = 90
        wanted = heat_maps(np.repeat(places[:, None], BODY_POINTS, axis=1), seen, SIDE_PX)
        heat = network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1)
        loss = binary_cross_entropy_with_logits(heat, wanted, weight=1 + 20 * wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        network.close.weight[UNSEEN], network.close.bias[UNSEEN] = 0.0, -8.0  # type: ignore[index]
    folder = tmp_path_factory.mktemp("detector")
    write_detector(folder, network)
    yield folder
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("width", "height", "x", "y"), [(128, 128, 40.0, 90.0), (512, 256, 400.0, 60.0), (96, 192, 30.0, 150.0)]
)
def test_points_are_told_in_the_pixels_of_the_photo(taught: Path, width: int, height: int, x: float, y: float) -> None:
    zoom = max(width, height) / SIDE_PX
    detector: PoseDetector = MannequinDetector(taught)
    (person,) = detector.detect(Image.fromarray(dotted(width, height, x, y, radius=5 * zoom)))
    assert person.body[UNSEEN] is None
    for point in person.body[UNSEEN + 1 :]:
        assert point is not None
        assert abs(point.x_px - x) <= NEAR_PX * zoom
        assert abs(point.y_px - y) <= NEAR_PX * zoom
        assert 0 < point.c <= 1
    assert (person.hand_left, person.hand_right, person.face) == (None, None, None)


def test_a_photo_of_nobody_has_nobody(taught: Path) -> None:
    assert MannequinDetector(taught).detect(Image.new("RGB", (200, 120), (90, 90, 90))) == []


def test_the_same_photo_is_read_the_same_way_twice(taught: Path) -> None:
    detector, photo = MannequinDetector(taught), Image.fromarray(dotted(128, 128, 70, 50, radius=5))
    assert detector.detect(photo) == detector.detect(photo)


def test_missing_and_foreign_weights_are_named(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectorFailed, match="cannot be read"):
        MannequinDetector(tmp_path)
    write_detector(tmp_path, torch.nn.Linear(2, 2))
    with pytest.raises(DetectorFailed, match="cannot be read"):
        MannequinDetector(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DetectorFailed, match="cannot be read"):
        MannequinDetector(tmp_path)


def test_matrices_are_kept_in_eight_bits_a_row_and_come_back_within_half_a_step() -> None:
    weights = {"a.weight": torch.randn(3, 4, 2, 2) * torch.tensor([0.01, 1.0, 50.0]).reshape(3, 1, 1, 1)}
    weights |= {"a.bias": torch.randn(3), "b.weight": torch.zeros(2, 2)}
    kept = packed(weights)
    back = unpacked(kept)
    assert kept["a.weight"].dtype is torch.int8
    assert kept["a.bias"].dtype is torch.float16
    steps = weights["a.weight"].abs().amax(dim=(1, 2, 3)) / 127
    off = (back["a.weight"] - weights["a.weight"]).abs().amax(dim=(1, 2, 3))
    assert (off <= 0.6 * steps).all()
    assert torch.allclose(back["a.bias"], weights["a.bias"], atol=2e-3)
    assert not back["b.weight"].any()
    with pytest.raises(RuntimeError, match=r"b\.weight has no scale"):
        unpacked({name: tensor for name, tensor in kept.items() if name != "b.weight.scale"})
