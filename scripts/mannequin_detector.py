"""How the built-in detector (models.mannequin.detector) learns, and how what it finds is scored.

It learns from renders only, which carry no marks, and never sees a control map: what it finds is the body itself.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mannequin_autoencoder import device_of
from mannequin_pictures import Shard
from mannequin_recipe import DETECTOR_BATCH
from mannequin_training import generator_of
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.mannequin.detector import FILE, STRIDE

_SPREAD = 1.2  # of a heat map's peak, in its cells


def write_detector(folder: Path, detector: nn.Module) -> None:
    """Export a detector in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    save_file(tensors, folder / FILE)


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
