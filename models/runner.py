"""What a FLUX picture is made of, stage by stage: words, control picture, one Euler step, pixels.

Tensors in, tensors out; no queue and no request is known here. The Euler step itself is `models.denoising`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from models import layout
from models.arrival import Decoded, Glimpses
from models.attention import Attention
from models.compiling import CompiledBlocks
from models.components import FluxComponents, Precision, config
from models.denoising import Conditions, Denoiser, RowNumbers
from models.devices import CopyEnd, uploaded
from models.modulation import Conditioning, Vectors
from models.previews import View, to_bytes
from models.profiles import Profile
from models.switches import AttentionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An encoded prompt. embeds: (text tokens, d); pooled: (p,)."""

    embeds: Tensor
    pooled: Tensor


class FluxRunner:
    """Runs the components of one profile on one device. attention None: torch's own; blocks None: none are compiled."""

    def __init__(
        self,
        profile: Profile,
        components: FluxComponents,
        attention: Attention | None = None,
        blocks: CompiledBlocks | None = None,
    ) -> None:
        self.profile = profile
        self.attention = attention or Attention((components.transformer, components.controlnet), AttentionKind.NATIVE)
        self.blocks = blocks or CompiledBlocks()
        self.parts = components
        self.device = components.device
        self.precision = Precision(components)
        self.channels: int = config(components.vae).latent_channels
        self._denoiser = Denoiser(components, self.precision, self.blocks, profile.control_mode)

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in now."""
        return self.precision.dtype

    def encode_words(self, prompts: Sequence[str]) -> list[Words]:
        """Encode all prompts in one pass: T5 gives the tokens, CLIP the pooled vector."""
        texts = list(prompts)
        clip_ids = self._token_ids(self.parts.tokenizer, texts, self.profile.clip_tokens)
        t5_ids = self._token_ids(self.parts.tokenizer_2, texts, self.profile.text_tokens)
        with self.parts.at_hand(self.parts.text_encoder):
            pooled = self.parts.text_encoder(clip_ids).pooler_output.to(self.dtype)
        with self.parts.at_hand(self.parts.text_encoder_2):
            embeds = self.parts.text_encoder_2(t5_ids)[0].to(self.dtype)
        return [Words(embeds=embeds[row], pooled=pooled[row]) for row in range(len(texts))]

    def _token_ids(self, tokenizer: Any, texts: list[str], length: int) -> Tensor:
        # No attention mask on purpose: FLUX was trained with the padding visible, and its pipelines pass none.
        encoded = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        ids: Tensor = encoded.input_ids
        return uploaded(ids, self.device)

    def encode_controls(self, pictures: Sequence[Image]) -> Tensor:
        """Encode RGB pictures of one size into packed latents, (b, n, 64).

        Takes the mode of the posterior where diffusers' pipeline samples it: a pose map then means the same for every
        seed and can be cached.
        """
        pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])
        colours = uploaded(torch.from_numpy(pixels), self.device).permute(0, 3, 1, 2).contiguous().float() / 255
        latents = self.parts.vae.encode((2 * colours - 1).to(self.dtype)).latent_dist.mode()  # type: ignore[operator]
        vae = config(self.parts.vae)
        scaled: Tensor = (latents - vae.shift_factor) * vae.scaling_factor
        return layout.pack(scaled)

    def starting_noise(self, seed: int, width: int, height: int) -> Tensor:
        """Return the noise a picture starts from, (n, 64) in fp32 on the device."""
        return uploaded(layout.starting_noise(seed, self.channels, height // 8, width // 8), self.device)

    def tables(self, wanted: Sequence[Conditioning]) -> list[Vectors | None]:
        """Make the modulation tables of pictures in one pass; None where the networks hold their modulation."""
        if self.parts.modulation is None:
            return [None] * len(wanted)
        made = [source.tables(wanted, device=self.device, dtype=self.dtype) for source in self.parts.modulation]
        return [Vectors(transformer=ours, controlnet=its) for ours, its in zip(*made, strict=True)]

    def row_numbers(
        self, rows: Sequence[tuple[float, float, float, float]], vectors: Vectors | None = None
    ) -> RowNumbers:
        """Upload (sigma, sigma_next, guidance, control_scale) of every row at once."""
        columns = uploaded(torch.tensor(rows, dtype=torch.float32), self.device).unbind(dim=1)
        return RowNumbers(
            sigma=columns[0], sigma_next=columns[1], guidance=columns[2], control_scale=columns[3], vectors=vectors
        )

    def suit(self, *, precise: bool, adapted: bool) -> None:
        """Get the networks ready for the forwards to come. Call outside torch.inference_mode.

        adapted: they have LoRAs. Raises what torch raises for lack of memory.
        """
        self.precision.use(precise=precise)
        self.attention.use(precise=precise)
        self.blocks.use(wanted=not precise and not adapted)

    def compiles_for(self, rows: int, following: int, size: tuple[int, int]) -> bool:
        """Tell whether `denoise` would have code to compile first, for rows of which so many follow a control."""
        return self._denoiser.compiles_for(rows, following, size)

    def denoise(
        self, latents: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Move every row one Euler step; see Denoiser."""
        return self._denoiser.denoise(latents, conditions, numbers, size)

    def decode(self, latents: Tensor, size: tuple[int, int]) -> Decoded:
        """Turn (b, n, 64) latents into pictures, and send them to the host."""
        width, height = size
        vae = config(self.parts.vae)
        unpacked = layout.unpack(latents, height // 8, width // 8) / vae.scaling_factor + vae.shift_factor
        decoded = self.parts.vae.decode(unpacked.to(self.dtype), return_dict=False)[0]  # type: ignore[operator]
        return self.to_host((decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).contiguous())

    def glimpse(self, latents: Tensor, view: View, size: tuple[int, int]) -> Glimpses:
        """Turn (b, n, 64) latents into previews, and send them to the host; on a card it returns at once."""
        width, height = size
        pixels = to_bytes(view.colours(layout.unpack(latents, height // 8, width // 8)))
        on_host = self._download(pixels).numpy()
        return Glimpses(pixels=on_host, arrival=CopyEnd(self.device) if self.device.type == "cuda" else None)

    def to_host(self, pixels: Tensor) -> Decoded:
        """Send (b, height, width, 3) pixels to the host; on a card it returns before they are there."""
        # The largest number of a picture is NaN when any is.
        on_host = [self._download(tensor).numpy() for tensor in (pixels, pixels.amax(dim=(1, 2, 3)))]
        arrival = CopyEnd(self.device) if self.device.type == "cuda" else None
        return Decoded(pixels=on_host[0], brightest=on_host[1], arrival=arrival)

    def _download(self, tensor: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return tensor
        # Only into pinned memory does the copy go along while the next step computes. torch keeps the memory from
        # being used again before the copy has ended, whoever forgets it.
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
