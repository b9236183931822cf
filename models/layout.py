"""How FLUX lays pictures out as tokens: 2x2 latents are packed into one token, in diffusers' order.

Free functions, shapes in the docstrings. c: latent channels (16), h and w: latent height and width, n = h/2 * w/2.
"""

import torch
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, n, 4c)."""
    batch, channels, height, width = latents.shape
    folded = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return folded.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """(b, n, 4c) -> (b, c, height, width); height and width in latents."""
    batch, _, channels = tokens.shape
    unfolded = tokens.view(batch, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return unfolded.reshape(batch, channels // 4, height, width)


def image_ids(height: int, width: int) -> Tensor:
    """Position of every token, (n, 3): 0, row, column; height and width in latents."""
    ids = torch.zeros(height // 2, width // 2, 3)
    ids[..., 1] += torch.arange(height // 2)[:, None]
    ids[..., 2] += torch.arange(width // 2)[None, :]
    return ids.reshape(-1, 3)


def starting_noise(seed: int, channels: int, height: int, width: int) -> Tensor:
    """Draw (n, 4c) standard normal noise on the CPU in fp32, so every device and batch starts from the same picture."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return pack(torch.randn((1, channels, height, width), generator=generator, dtype=torch.float32))[0]
