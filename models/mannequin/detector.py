"""The built-in detector: a small network that finds the 18 joints of a mannequin in a picture.

It has learned from renders only, which carry no marks, and never saw a control map: what it finds is the body itself.
So it is the ruler of the scores (scripts/score_mannequin.py) and of every picture the built-in model draws.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models import mannequin
from models.detectors.people import BODY_POINTS, FoundPerson, FoundPoint
from models.errors import DetectorFailed

SIDE_PX = 128
"""The pictures it has learned from."""
STRIDE = 4
"""Pixels of a heat map's cell."""
FILE = "model.safetensors"
LEAST_SURE = 0.3
"""A point below this is not seen."""
_ROWS = 16


class Network(nn.Module):
    """Pictures (b, 3, side, side) in -1..1 to heat maps (b, 18, side / 4, side / 4), as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 24, 2))
        self.down8 = nn.Sequential(_conv(24, 32, 2), _conv(32, 32))
        self.down16 = nn.Sequential(_conv(32, 48, 2), _conv(48, 48), _Far(48))
        self.up8 = _conv(32 + 48, 32)
        self.up4 = _conv(24 + 32, 32)
        self.close = nn.Conv2d(32, BODY_POINTS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the heat maps."""
        quarter = self.stem(pixels)
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        eighth = self.up8(torch.cat([eighth, functional.interpolate(sixteenth, scale_factor=2.0)], dim=1))
        drawn = self.up4(torch.cat([quarter, functional.interpolate(eighth, scale_factor=2.0)], dim=1))
        heat: Tensor = self.close(drawn)
        return heat


class _Far(nn.Module):
    """Lets every cell see the whole picture: dilated convolutions and the mean of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.mean = nn.Linear(width, width)
        self.wide = _conv(width, width)

    def forward(self, cells: Tensor) -> Tensor:
        mean = self.mean(cells.mean(dim=(2, 3)))[:, :, None, None]
        result: Tensor = cells + self.wide(functional.silu(self.near(cells) + mean))
        return result


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, after), nn.SiLU()
    )


class MannequinDetector:
    """The network with the weights in a folder, this package's own unless another is named. CPU only.

    It finds one person: of several in a picture it finds one, or a mixture of them, and it does not know what is no
    mannequin. Hands and faces have no points. Raises DetectorFailed where the weights are missing or another network's.
    """

    name = "mannequin"

    def __init__(self, folder: Path | None = None) -> None:
        found = folder or mannequin.WEIGHTS / mannequin.DETECTOR
        try:
            self._network = read_network(found)
        except (OSError, SafetensorError, RuntimeError) as e:
            raise DetectorFailed(self.name, f"its weights in {found} cannot be read: {str(e).splitlines()[0]}") from e

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        """Return the person of an RGB photo of any size; nobody where no point is sure enough."""
        square, scale, left_px, top_px = _squared(photo)
        places, sureness = find_joints(self._network, square[None])
        body = tuple(
            FoundPoint((float(x) - left_px) / scale, (float(y) - top_px) / scale, min(float(c), 1.0))
            if c >= LEAST_SURE
            else None
            for (x, y), c in zip(places[0], sureness[0], strict=True)
        )
        return [] if not any(body) else [FoundPerson(body=body)]


def _squared(photo: Image.Image) -> tuple[NDArray[np.uint8], float, int, int]:
    """Fit a photo into the network's square, its rim drawn out to fill it; returns also how to find the way back."""
    scale = SIDE_PX / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    pixels = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)
    left, top = (SIDE_PX - width) // 2, (SIDE_PX - height) // 2
    around = ((top, SIDE_PX - height - top), (left, SIDE_PX - width - left), (0, 0))
    return np.pad(pixels, around, mode="edge"), scale, left, top


def read_network(folder: Path) -> Network:
    """Read an exported detector. Raises OSError or SafetensorError for no such file, RuntimeError for another's."""
    network = Network()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / FILE).items()})
    return network.eval()


@torch.no_grad()
def find_joints(network: nn.Module, pictures: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the joints of pictures (n, side, side, 3) are, (n, 18, 2) in pixels, and how sure, (n, 18)."""
    places, sure = [], []
    for start in range(0, len(pictures), _ROWS):
        pixels = torch.from_numpy(np.array(pictures[start : start + _ROWS])).permute(0, 3, 1, 2).float() / 127.5 - 1
        heat = network(pixels).sigmoid()
        at, peak = peaks(heat)
        places.append(at)
        sure.append(peak)
    return torch.cat(places).numpy().astype(np.float32), torch.cat(sure).numpy().astype(np.float32)


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the peaks of heat maps (n, joints, h, w) lie, (n, joints, 2) in pixels, and how high they are.

    A peak lies at the centre of gravity of the cells around the highest one, which is finer than a cell.
    """
    n, joints, _, side = heat.shape
    peak, at = heat.reshape(n, joints, -1).max(dim=2)
    padded = functional.pad(heat, (2, 2, 2, 2))
    row, column = at // side, at % side
    offsets = torch.arange(5)
    window = padded[
        torch.arange(n)[:, None, None, None],
        torch.arange(joints)[None, :, None, None],
        (row[..., None] + offsets)[..., :, None],
        (column[..., None] + offsets)[..., None, :],
    ]
    window = window / window.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    x = column + 0.5 + (window.sum(dim=2) * (offsets - 2)).sum(dim=2)
    y = row + 0.5 + (window.sum(dim=3) * (offsets - 2)).sum(dim=2)
    return torch.stack([x, y], dim=2) * STRIDE, peak
