"""Small pictures of what a picture is becoming, made beside the steps and shown while it is drawn.

The latents of a step still hold noise; what the model expects behind it, x0, is worked out from the latents before and
after the step, without another forward. A view turns it into colours: a linear map with one pixel for each latent (see
previews_fit), or TAEF1, a small autoencoder of FLUX's latents, where its weights are on disk (see previews_taef1).
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

PREVIEW_PX = 192
"""No preview is wider or higher."""


class View(Protocol):
    """What turns latents into small pictures. `name`: its kind; `note`: why a better kind was refused, or None."""

    name: str
    note: str | None

    def colours(self, latents: Tensor) -> Tensor:
        """(b, c, h, w) latents as the transformer sees them -> (b, 3, height, width) in about 0..1."""


def expected(before: Tensor, after: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return x0, what the model expected to be left without noise when it moved `before` to `after`.

    Flow matching: x = (1 - sigma) x0 + sigma noise and v = noise - x0, so x0 = x - sigma v. The step was
    after = before + (sigma_next - sigma) v; without v the two say

        x0 = (sigma after - sigma_next before) / (sigma - sigma_next)

    which is `after` itself in the last step, whose sigma_next is 0. The sigmas are the host's: nothing waits for them.
    """
    step = sigma - sigma_next
    return after * (sigma / step) - before * (sigma_next / step)


class LinearView:
    """One pixel per latent: its channels, times a matrix. weights: (3, c); bias: (3,)."""

    name = "linear"

    def __init__(self, weights: Tensor, bias: Tensor, note: str | None = None) -> None:
        self.weights = weights
        self.bias = bias
        self.note = note

    def colours(self, latents: Tensor) -> Tensor:
        """See View; the pictures have the size of the latents, an eighth of the picture's."""
        return nn.functional.conv2d(latents.float(), self.weights[:, :, None, None], self.bias)


class AutoencoderView:
    """diffusers' AutoencoderTiny, scaled down to PREVIEW_PX on the device. One picture at a time, to be small."""

    name = "taef1"
    note: str | None = None

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network
        self.dtype = next(network.parameters()).dtype

    def colours(self, latents: Tensor) -> Tensor:
        """See View."""
        known = self.network.config
        plain = (latents / known.scaling_factor + known.shift_factor).to(self.dtype)
        return torch.cat([self._smaller(self.network.decode(one, return_dict=False)[0]) for one in plain.split(1)])

    def _smaller(self, decoded: Tensor) -> Tensor:
        height, width = decoded.shape[-2:]
        shrink = min(1.0, PREVIEW_PX / max(width, height))
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        return nn.functional.adaptive_avg_pool2d(decoded.float() / 2 + 0.5, size)


def to_bytes(colours: Tensor) -> Tensor:
    """(b, 3, h, w) in about 0..1 -> (b, h, w, 3) uint8; what is no number becomes black."""
    whole = torch.nan_to_num(colours.float(), nan=0.0).clamp(0, 1).mul(255).round()
    return whole.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
