"""Trains the mannequin's autoencoder on pictures and on control maps.

A latent is the mean with noise of a fixed spread added, instead of a learned one held down by a KL term: small figures
keep their wrists. Most steps see crops around joints, where the detail is; every fourth sees whole pictures.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mannequin_pictures import Shard, stress
from mannequin_recipe import AUTOENCODER_BATCH, LATENT_NOISE, LATENTS
from mannequin_training import generator_of
from torch import Tensor, nn

CROP_PX = 64
_MAP_SHARE = 0.15
_WHOLE_EVERY = 4
_DETAILED = (0, 4, 7, 10, 13, 3, 6)  # joints around which crops are taken and errors weigh more


class AutoencoderLoss:
    """The loss of one step on pictures of some shards."""

    def __init__(self, vae: Any, shards: Sequence[Shard], seed: int, *, batch: int = AUTOENCODER_BATCH) -> None:
        self._vae, self._shards, self._seed, self._batch_size = vae, shards, seed, batch

    def __call__(self, step: int) -> Tensor:
        """Return the loss of step number `step`."""
        generator = generator_of(self._seed, step)
        device = device_of(self._vae)
        pixels, weights = (tensor.to(device) for tensor in self._batch(step, generator))
        with torch.autocast(device.type, torch.bfloat16):
            mean = self._vae.encode(pixels).latent_dist.mode()
            noise = torch.randn(mean.shape, generator=generator).to(device)
            drawn = self._vae.decode(mean + LATENT_NOISE * noise).sample
        loss: Tensor = reconstruction_loss(drawn.float(), pixels, weights) + 2e-4 * mean.float().square().mean()
        return loss

    def _batch(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        side = self._shards[0].pictures.shape[1]
        whole = step % _WHOLE_EVERY == 0 or side <= CROP_PX
        count = max(1, self._batch_size * CROP_PX**2 // side**2) if whole else self._batch_size
        pixels, weights = zip(*(self._one(rng, whole, side) for _ in range(count)), strict=True)
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return stacked.contiguous(), torch.from_numpy(np.stack(weights))[:, None]

    def _one(self, rng: np.random.Generator, whole: bool, side: int) -> tuple[Any, Any]:
        shard = self._shards[int(rng.integers(len(self._shards)))]
        index = int(rng.integers(len(shard.pictures)))
        is_map = rng.random() < _MAP_SHARE
        joints, seen = shard.joints[index], shard.seen[index]
        picture = (shard.maps if is_map else shard.pictures)[index]
        figure = picture.any(axis=2) if is_map else shard.parts[index] > 0
        weights = 1.0 + 2.0 * figure.astype(np.float32)
        if not is_map:
            for place in joints[list(_DETAILED)][seen[list(_DETAILED)]]:
                stress(weights, place, side // 20, 2.0)
        if whole:
            left = top = 0
            size = side
        else:
            size = CROP_PX
            x, y = joints[rng.choice(_DETAILED)] if rng.random() < 0.8 else rng.uniform(0, side, 2)
            left = int(np.clip(x - size / 2 + rng.uniform(-20, 20), 0, side - size))
            top = int(np.clip(y - size / 2 + rng.uniform(-20, 20), 0, side - size))
        window = slice(top, top + size), slice(left, left + size)
        cut, weighed = picture[window], weights[window]
        if rng.random() < 0.5:
            cut, weighed = cut[:, ::-1], weighed[:, ::-1]
        return cut.copy(), weighed.copy()


def reconstruction_loss(drawn: Tensor, pixels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted error of pixels and of their differences, so that edges stay edges."""
    error = drawn - pixels
    loss = (weights * (error.abs() + 2.0 * error.square())).mean()
    for across in (2, 3):
        slope = error.narrow(across, 1, error.shape[across] - 1) - error.narrow(across, 0, error.shape[across] - 1)
        loss = loss + 0.7 * (weights.narrow(across, 1, weights.shape[across] - 1) * slope.abs()).mean()
    return loss


def prepared(vae: Any) -> Any:
    """Leave the rows of the spread as they are built: only means are learned.

    Not channels last: the convolutions would be faster, but group norm's way back takes several times as long.
    """
    closing = vae.encoder.conv_out
    for parameter in (closing.weight, closing.bias):
        parameter.register_hook(_means_only)
    return vae


def _means_only(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[LATENTS:] = 0
    return gradient


@torch.no_grad()
def encode(vae: Any, pictures: Any, *, batch: int = 16) -> Tensor:
    """Return the latents' means of pictures (n, side, side, 3) in 0..255, in fp32, unscaled.

    Computed in bf16, channels last: half the time of fp32 weights under autocast, and as far from fp32.
    """
    device = device_of(vae)
    encoder = copy.deepcopy(vae.encoder).to(torch.bfloat16, memory_format=torch.channels_last)
    encoded = []
    for start in range(0, len(pictures), batch):
        pixels = torch.from_numpy(np.array(pictures[start : start + batch])).permute(0, 3, 1, 2).float() / 127.5 - 1
        pixels = pixels.to(device, torch.bfloat16, memory_format=torch.channels_last)
        encoded.append(encoder(pixels)[:, :LATENTS].float().contiguous().cpu())
    return torch.cat(encoded)


@torch.no_grad()
def decode(vae: Any, latents: Tensor, *, batch: int = 16) -> Any:
    """Return the pictures (n, side, side, 3), uint8, of unscaled latents."""
    drawn = []
    for start in range(0, len(latents), batch):
        device = device_of(vae)
        with torch.autocast(device.type, torch.bfloat16):
            pixels = vae.decode(latents[start : start + batch].to(device)).sample.float().cpu()
        drawn.append(((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(drawn)


@torch.no_grad()
def settle(vae: Any, latents: Tensor) -> None:
    """Write down the shift and the scale that make latents (n, c, h, w) standard, as a configuration."""
    vae.register_to_config(shift_factor=float(latents.mean()), scaling_factor=1 / float(latents.std()))


def device_of(network: nn.Module) -> torch.device:
    """Return where a network lies."""
    return next(network.parameters()).device


def psnr(drawn: Any, pictures: Any) -> float:
    """Return the mean peak signal-to-noise ratio in dB."""
    errors = ((drawn.astype(np.float32) - pictures.astype(np.float32)) ** 2).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255.0**2 / np.maximum(errors, 1e-3))).mean())


def load_into(network: nn.Module, checkpoint: Path, name: str) -> int:
    """Load a network's moving average from a checkpoint; returns how many steps made it."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(state["average"][name])
    return int(state["step"])
