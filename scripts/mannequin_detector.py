"""The ruler: a small network that finds the 18 joints of a mannequin in a picture, and the arithmetic of scores.

It learns from renders only, which carry no marks, and never sees a control map: what it finds is the body itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mannequin_autoencoder import device_of
from mannequin_pictures import Shard
from mannequin_recipe import DETECTOR_BATCH
from mannequin_training import generator_of
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

JOINTS = 18
STRIDE = 4
WEIGHTS = "model.safetensors"
_SPREAD = 1.2  # of a heat map's peak, in its cells


class Detector(nn.Module):
    """Pictures (b, 3, side, side) in -1..1 to heat maps (b, 18, side / 4, side / 4), as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 24, 2))
        self.down8 = nn.Sequential(_conv(24, 32, 2), _conv(32, 32))
        self.down16 = nn.Sequential(_conv(32, 48, 2), _conv(48, 48), _Far(48))
        self.up8 = _conv(32 + 48, 32)
        self.up4 = _conv(24 + 32, 32)
        self.close = nn.Conv2d(32, JOINTS, 1)

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


def read_detector(folder: Path) -> Detector:
    """Read an exported detector. Raises OSError where there is none."""
    detector = Detector()
    detector.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()})
    return detector.eval()


def write_detector(folder: Path, detector: nn.Module) -> None:
    """Export a detector in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)


class DetectorLoss:
    """The loss of one step: squared error of heat maps around the joints that are seen."""

    def __init__(self, detector: nn.Module, shards: Sequence[Shard], seed: int) -> None:
        self._detector, self._shards, self._seed = detector, shards, seed

    def __call__(self, step: int) -> Tensor:
        """Return the loss of step number `step`."""
        generator = generator_of(self._seed, step)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        shard = self._shards[int(rng.integers(len(self._shards)))]
        picked = np.sort(rng.integers(0, len(shard.pictures), DETECTOR_BATCH))
        pixels = torch.from_numpy(shard.pictures[picked]).permute(0, 3, 1, 2).float() / 127.5 - 1
        # Softer, noisier, darker pictures than renders are: what a model draws is not as crisp.
        if rng.random() < 0.5:
            pixels = functional.avg_pool2d(pixels, 3, 1, 1)
        pixels = pixels * float(rng.uniform(0.85, 1.1)) + float(rng.uniform(0, 0.08)) * torch.randn(
            pixels.shape, generator=generator
        )
        wanted = heat_maps(shard.joints[picked], shard.seen[picked], pixels.shape[-1])
        device = device_of(self._detector)
        wanted = wanted.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            heat = self._detector(pixels.to(device))
        return functional.binary_cross_entropy_with_logits(heat.float(), wanted, weight=1 + 20 * wanted)


def heat_maps(joints: NDArray[np.float32], seen: NDArray[np.bool_], side: int) -> Tensor:
    """Return a peak of 1 around every joint that is seen: (n, 18, side / 4, side / 4)."""
    cells = torch.arange(side // STRIDE) + 0.5
    x, y = (torch.from_numpy(joints[..., axis] / STRIDE)[..., None] for axis in (0, 1))
    peaks: Tensor = (
        torch.exp(-((cells - x)[:, :, None, :] ** 2 + (cells - y)[:, :, :, None] ** 2) / (2 * _SPREAD**2))
        * torch.from_numpy(seen)[..., None, None]
    )
    return peaks


@torch.no_grad()
def find_joints(detector: nn.Module, pictures: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the joints of pictures (n, side, side, 3) are, (n, 18, 2) in pixels, and how sure, (n, 18)."""
    places, sure = [], []
    for start in range(0, len(pictures), 16):
        pixels = torch.from_numpy(np.array(pictures[start : start + 16])).permute(0, 3, 1, 2).float() / 127.5 - 1
        heat = detector(pixels).sigmoid()
        at, peak = peaks(heat)
        places.append(at)
        sure.append(peak)
    return torch.cat(places).numpy().astype(np.float32), torch.cat(sure).numpy().astype(np.float32)


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the peaks of heat maps (n, joints, h, w) lie, (n, joints, 2) in pixels, and how high they are.

    A peak lies at the centre of gravity of the cells around the highest one, which is finer than a cell.
    """
    n, joints, side, _ = heat.shape
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


def pck(
    found: NDArray[np.float32],
    wanted: NDArray[np.float32],
    seen: NDArray[np.bool_],
    torsos_px: NDArray[np.float32],
    *,
    within: float,
) -> float:
    """Return the share of seen joints that were found within so much of the torso's length.

    found, wanted: (n, 18, 2) in pixels; seen: (n, 18); torsos_px: (n,).
    """
    away = np.linalg.norm(found - wanted, axis=2)
    hits = away <= within * torsos_px[:, None]
    return float((hits & seen).sum() / max(1, seen.sum()))
