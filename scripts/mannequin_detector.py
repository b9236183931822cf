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

from models.detectors.people import BODY_MIRROR
from models.mannequin.detector import FILE, STRIDE, Network, centres, packed

_SPREAD = 1.2  # of a heat map's peak, in its cells
_PLACE_WEIGHT = 0.1
_GUESS_WEIGHT = 0.5
_HARDEST = 4.0
_SCALES = (0.85, 1.2)
_SHIFT = 0.06  # of the side


def write_detector(folder: Path, detector: nn.Module) -> None:
    """Export a detector: matrices in int8, the rest in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(packed(detector.state_dict()), folder / FILE)


class DetectorLoss:
    """The loss of one step: cross entropy of heat maps around the joints that are seen, and how far off these are."""

    def __init__(self, detector: Network, shards: Sequence[Shard], seed: int) -> None:
        self._detector, self._shards, self._seed = detector, shards, seed

    def __call__(self, step: int) -> Tensor:
        """Return the loss of step number `step`."""
        generator = generator_of(self._seed, step)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        shard = self._shards[int(rng.integers(len(self._shards)))]
        picked = np.sort(rng.integers(0, len(shard.pictures), DETECTOR_BATCH))
        pixels = torch.from_numpy(shard.pictures[picked]).permute(0, 3, 1, 2).float() / 127.5 - 1
        pixels, joints, seen = moved(rng, pixels, shard.joints[picked], shard.seen[picked])
        # Softer, noisier, darker pictures than renders are: what a model draws is not as crisp.
        if rng.random() < 0.5:
            pixels = functional.avg_pool2d(pixels, 3, 1, 1)
        pixels = pixels * float(rng.uniform(0.85, 1.1)) + float(rng.uniform(0, 0.08)) * torch.randn(
            pixels.shape, generator=generator
        )
        device = device_of(self._detector)
        wanted = heat_maps(joints, seen, pixels.shape[-1]).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            guess, heat = (one.float() for one in self._detector.guesses(pixels.to(device)))
        there = _apart(heat, wanted) + _GUESS_WEIGHT * _apart(guess, functional.max_pool2d(wanted, 2))
        return (hardness(there) * there).mean() + _PLACE_WEIGHT * _misplaced(heat.sigmoid(), joints, seen)


def _apart(heat: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross entropy of every picture, (n,); cells near joints weigh most."""
    cells = functional.binary_cross_entropy_with_logits(heat, wanted, weight=1 + 20 * wanted, reduction="none")
    return cells.mean(dim=(1, 2, 3))


def hardness(losses: Tensor) -> Tensor:
    """Return how much pictures weigh, (n,), 1 on average: the few whose left and right are mixed up the most."""
    share = (losses.detach() / losses.detach().mean()).clamp_max(_HARDEST)
    return share / share.mean()


def moved(
    rng: np.random.Generator, pixels: Tensor, joints: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[Tensor, NDArray[np.float32], NDArray[np.bool_]]:
    """Mirror, shift and scale pictures (n, 3, side, side) and their joints (n, 18, 2), each by its own lot."""
    n, side = len(pixels), pixels.shape[-1]
    scale = rng.uniform(*_SCALES, n)
    shift_px = rng.uniform(-_SHIFT, _SHIFT, (n, 2)) * side
    flipped = rng.random(n) < 0.5
    sign = np.where(flipped, -1.0, 1.0)
    # A pixel of the new picture is looked up in the old one: the inverse of what happens to joints.
    back = np.zeros((n, 2, 3), np.float32)
    back[:, 0, 0], back[:, 1, 1] = sign / scale, 1 / scale
    back[:, 0, 2] = -sign * shift_px[:, 0] / scale / (side / 2)
    back[:, 1, 2] = -shift_px[:, 1] / scale / (side / 2)
    grid = functional.affine_grid(torch.from_numpy(back), list(pixels.shape), align_corners=False)
    drawn = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    middle = side / 2
    turned = (joints - middle) * scale[:, None, None]
    turned[..., 0] *= sign[:, None]
    placed: NDArray[np.float32] = (turned + middle + shift_px[:, None]).astype(np.float32)
    placed[flipped] = placed[flipped][:, BODY_MIRROR]
    shown = seen.copy()
    shown[flipped] = shown[flipped][:, BODY_MIRROR]
    inside = ((placed >= 0) & (placed < side)).all(axis=2)
    return drawn, placed, shown & inside


def _misplaced(heat: Tensor, joints: NDArray[np.float32], seen: NDArray[np.bool_]) -> Tensor:
    """Return by how many cells seen joints are off, as they are read from around their true cell."""
    wanted = torch.from_numpy(joints).to(heat.device)
    cell = (wanted / STRIDE).long().clamp(0, heat.shape[-1] - 1)
    off = (centres(heat, cell[..., 1], cell[..., 0]) - wanted).abs().sum(dim=2) / STRIDE
    shown = torch.from_numpy(seen).to(heat.device)
    return (off * shown).sum() / shown.sum().clamp_min(1)


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
