"""The built-in detector: a small network that finds the 18 joints of a mannequin in a picture.

It has learned from renders only, which carry no marks, and never saw a control map: what it finds is the body itself.
So it is the ruler of the scores (scripts/score_mannequin.py) and of every picture the built-in model draws.
"""

from collections.abc import Mapping, Sequence
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
from models.detectors.people import BODY_MIRROR, BODY_POINTS, FoundPerson, FoundPoint
from models.errors import DetectorFailed

SIDE_PX = 128
"""The pictures it has learned from."""
STRIDE = 4
"""Pixels of a heat map's cell."""
FILE = "model.safetensors"
LEAST_SURE = 0.3
"""A point below this is not seen."""
_ROWS = 16
_WIDTH, _HEADS = 64, 4
_FINE, _FINE_HEADS = 48, 2
_SCALE = ".scale"


class Network(nn.Module):
    """Pictures (b, 3, side, side) in -1..1 to heat maps (b, 18, side / 4, side / 4), as logits.

    Convolutions down to cells of 16 px, attention among these (which of two legs is the left one shows only in the
    whole figure), and convolutions up again. On the way, at 8 px, a first guess of every joint is made and told to the
    attention there: where the left knee is says much about which of two knees is the right one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 32, 2))
        self.down8 = nn.Sequential(_conv(32, _FINE, 2), _conv(_FINE, _FINE))
        self.down16 = _conv(_FINE, _WIDTH, 2)
        self.place = nn.Parameter(torch.randn(1, _WIDTH, SIDE_PX // 16, SIDE_PX // 16) * 0.02)
        self.whole = nn.Sequential(*(_Among(_WIDTH, _HEADS) for _ in range(3)))
        self.up8 = _conv(_FINE + _WIDTH, _FINE)
        self.guess = nn.Conv2d(_FINE, BODY_POINTS, 1)
        self.heard = nn.Conv2d(BODY_POINTS, _FINE, 1)
        self.limbs = nn.Sequential(*(_Among(_FINE, _FINE_HEADS) for _ in range(2)))
        self.up4 = nn.Sequential(_conv(32 + _FINE, 40), _conv(40, 40))
        self.close = nn.Conv2d(40, BODY_POINTS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the heat maps."""
        return self.guesses(pixels)[1]

    def guesses(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first guess, (b, 18, side / 8, side / 8), and the heat maps."""
        quarter = self.stem(pixels)
        eighth = self.down8(quarter)
        cells = self.down16(eighth)
        placed = cells + functional.interpolate(self.place, cells.shape[2:], mode="bilinear")
        seen = self.whole(placed.flatten(2).transpose(1, 2))
        sixteenth = seen.transpose(1, 2).unflatten(2, cells.shape[2:])
        eighth = self.up8(torch.cat([eighth, functional.interpolate(sixteenth, scale_factor=2.0)], dim=1))
        guess: Tensor = self.guess(eighth)
        told = eighth + self.heard(guess.sigmoid())
        eighth = self.limbs(told.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, eighth.shape[2:])
        drawn = self.up4(torch.cat([quarter, functional.interpolate(eighth, scale_factor=2.0)], dim=1))
        heat: Tensor = self.close(drawn)
        return guess, heat


class _Among(nn.Module):
    """A transformer's block: cells (b, n, width) look at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked, self.told = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.close = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, cells: Tensor) -> Tensor:
        heads = self.asked(self.before(cells)).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(*heads)
        cells = cells + self.told(heard.transpose(1, 2).flatten(2))
        result: Tensor = cells + self.close(self.between(cells))
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
    network.load_state_dict(unpacked(load_file(folder / FILE)))
    return network.eval()


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as they are kept: matrices in int8 with a scale for each row, all else in fp16."""
    kept: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.dim() < 2:
            kept[name] = tensor.half()
            continue
        scale = (tensor.abs().flatten(1).amax(dim=1) / 127).clamp_min(1e-6).half()
        kept[name + _SCALE] = scale
        kept[name] = (tensor / _along(scale, tensor)).round().clamp(-127, 127).char()
    return {name: tensor.cpu().contiguous() for name, tensor in kept.items()}


def unpacked(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in fp32. Raises RuntimeError for int8 without a scale."""
    weights = {}
    for name, tensor in kept.items():
        if name.endswith(_SCALE):
            continue
        scale = kept.get(name + _SCALE)
        if scale is None and tensor.dtype is torch.int8:
            raise RuntimeError(f"{name} has no scale")
        weights[name] = tensor.float() if scale is None else tensor.float() * _along(scale, tensor)
    return weights


def _along(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.float().reshape(-1, *(1,) * (tensor.dim() - 1))


@torch.no_grad()
def find_joints(network: nn.Module, pictures: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the joints of pictures (n, side, side, 3) are, (n, 18, 2) in pixels, and how sure, (n, 18).

    Every picture is looked at four times, as it is and half a cell further, each also in a mirror: opinions differ most
    about what is hard to tell, as which of two legs is the left one.
    """
    places, sure = [], []
    for start in range(0, len(pictures), _ROWS):
        pixels = torch.from_numpy(np.array(pictures[start : start + _ROWS])).permute(0, 3, 1, 2).float() / 127.5 - 1
        at, peak = peaks(_looked_at(network, pixels).sigmoid())
        places.append(at)
        sure.append(peak)
    return torch.cat(places).numpy().astype(np.float32), torch.cat(sure).numpy().astype(np.float32)


def _looked_at(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return the mean of four looks' logits, (n, 18, side / 4, side / 4)."""
    half = STRIDE // 2
    further = functional.pad(pixels, (0, half, 0, half), mode="replicate")[..., half:, half:]
    here, there = (
        functional.interpolate(_both_ways(network, view), scale_factor=2.0, mode="bilinear")
        for view in (pixels, further)
    )
    back = functional.pad(there, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]
    return functional.avg_pool2d((here + back) / 2, 2)


def _both_ways(network: nn.Module, pixels: Tensor) -> Tensor:
    seen: Tensor = network(pixels) + network(pixels.flip(3)).flip(3)[:, BODY_MIRROR]
    return seen / 2


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the peaks of heat maps (n, joints, h, w) lie, (n, joints, 2) in pixels, and how high they are.

    A peak lies at the centre of gravity of the cells around the highest one, which is finer than a cell.
    """
    peak, at = heat.flatten(2).max(dim=2)
    return centres(heat, at // heat.shape[3], at % heat.shape[3]), peak


def centres(heat: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return the centres of gravity, (n, joints, 2) in pixels, of the 5x5 cells around given ones, (n, joints)."""
    n, joints = heat.shape[:2]
    padded = functional.pad(heat, (2, 2, 2, 2))
    offsets = torch.arange(5, device=heat.device)
    window = padded[
        torch.arange(n)[:, None, None, None],
        torch.arange(joints)[None, :, None, None],
        (row[..., None] + offsets)[..., :, None],
        (column[..., None] + offsets)[..., None, :],
    ]
    window = window / window.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    x = column + 0.5 + (window.sum(dim=2) * (offsets - 2)).sum(dim=2)
    y = row + 0.5 + (window.sum(dim=3) * (offsets - 2)).sum(dim=2)
    return torch.stack([x, y], dim=2) * STRIDE
