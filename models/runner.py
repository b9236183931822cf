"""What a FLUX picture is made of, stage by stage: words, control picture, one Euler step, pixels.

Tensors in, tensors out; no queue and no request is known here. All rows of a call share size and text length and are
otherwise independent: FLUX modulates per row, so timestep, guidance and conditioning scale are vectors. Nothing in
`denoise` reads a value back from the device.
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
from models.components import FluxComponents, Precision
from models.devices import CopyEnd
from models.modulation import Conditioning, Vectors, timestep_of
from models.previews import View, to_bytes
from models.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An encoded prompt. embeds: (text tokens, d); pooled: (p,)."""

    embeds: Tensor
    pooled: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What stays the same while a batch is denoised. b rows, of which the first k may be asked to follow a control.

    embeds: (b, text tokens, d); pooled: (b, p); control: (k, n, 64) packed latents of the control pictures, or None.
    """

    embeds: Tensor
    pooled: Tensor
    control: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowNumbers:
    """The numbers of one step, one per row and on the device: sigma, sigma_next, guidance, control_scale, (b,) fp32.

    vectors: the rows' modulation in this step, where the networks do not make it themselves.
    """

    sigma: Tensor
    sigma_next: Tensor
    guidance: Tensor
    control_scale: Tensor
    vectors: Vectors | None


class FluxRunner:
    """Runs the components of one profile on one device."""

    def __init__(self, profile: Profile, components: FluxComponents) -> None:
        self.profile = profile
        self.parts = components
        self.device = components.device
        self.precision = Precision(components)
        self.channels: int = config(components.vae).latent_channels
        self._ids: dict[tuple[int, int], Tensor] = {}

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
        return self._upload(ids)

    def encode_controls(self, pictures: Sequence[Image]) -> Tensor:
        """Encode RGB pictures of one size into packed latents, (b, n, 64).

        Takes the mode of the posterior where diffusers' pipeline samples it: a pose map then means the same for every
        seed and can be cached.
        """
        pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])
        colours = self._upload(torch.from_numpy(pixels)).permute(0, 3, 1, 2).contiguous().float() / 255
        latents = self.parts.vae.encode((2 * colours - 1).to(self.dtype)).latent_dist.mode()  # type: ignore[operator]
        vae = config(self.parts.vae)
        scaled: Tensor = (latents - vae.shift_factor) * vae.scaling_factor
        return layout.pack(scaled)

    def starting_noise(self, seed: int, width: int, height: int) -> Tensor:
        """Return the noise a picture starts from, (n, 64) in fp32 on the device."""
        return self._upload(layout.starting_noise(seed, self.channels, height // 8, width // 8))

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
        columns = self._upload(torch.tensor(rows, dtype=torch.float32)).unbind(dim=1)
        return RowNumbers(
            sigma=columns[0], sigma_next=columns[1], guidance=columns[2], control_scale=columns[3], vectors=vectors
        )

    def denoise(
        self, latents: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Move every row one Euler step; returns new latents, the old ones stay, and the velocity they moved with.

        latents and velocity: (b, n, 64) fp32. The rows of conditions.control follow it, the others are drawn without
        ControlNet.
        """
        hidden = latents.to(self.dtype)
        timestep = timestep_of(numbers.sigma, self.dtype)
        shared = {
            "txt_ids": self._text_ids(conditions.embeds.shape[1]),
            "img_ids": self._image_ids(*size),
            "return_dict": False,
        }
        residuals = self._control(hidden, timestep, conditions, numbers, shared)
        velocity = self.parts.transformer(
            hidden_states=hidden,
            timestep=timestep,
            guidance=numbers.guidance if config(self.parts.transformer).guidance_embeds else None,
            pooled_projections=conditions.pooled if numbers.vectors is None else numbers.vectors.transformer,
            encoder_hidden_states=conditions.embeds,
            controlnet_block_samples=residuals[0],
            controlnet_single_block_samples=residuals[1],
            **shared,
        )[0]
        step = (numbers.sigma_next - numbers.sigma).to(latents.dtype)
        velocity = velocity.to(latents.dtype)
        return latents + step[:, None, None] * velocity, velocity

    def _control(
        self, hidden: Tensor, timestep: Tensor, conditions: Conditions, numbers: RowNumbers, shared: dict[str, Any]
    ) -> tuple[list[Tensor] | None, list[Tensor] | None]:
        """Run the ControlNet for the first k rows; the residuals of the others are zero."""
        control = conditions.control
        if control is None:
            return None, None
        k, b = control.shape[0], hidden.shape[0]
        mode = self.profile.control_mode
        double, single = self.parts.controlnet(
            hidden_states=hidden[:k],
            controlnet_cond=control,
            controlnet_mode=None if mode is None else torch.full((k, 1), mode, dtype=torch.long, device=self.device),
            conditioning_scale=numbers.control_scale[:k, None, None].to(self.dtype),
            timestep=timestep[:k],
            guidance=numbers.guidance[:k] if config(self.parts.controlnet).guidance_embeds else None,
            pooled_projections=(conditions.pooled if numbers.vectors is None else numbers.vectors.controlnet)[:k],
            encoder_hidden_states=conditions.embeds[:k],
            **shared,
        )
        return _with_zero_rows(double, b), _with_zero_rows(single, b)

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

    def _upload(self, tensor: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return tensor
        # Pinned memory: the copy goes along while the previous step still computes.
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _text_ids(self, tokens: int) -> Tensor:
        return torch.zeros(tokens, 3, device=self.device, dtype=self.dtype)

    def _image_ids(self, width: int, height: int) -> Tensor:
        ids = self._ids.get((width, height))
        if ids is None:
            ids = self._ids[width, height] = self._upload(layout.image_ids(height // 8, width // 8))
        # diffusers' pipeline passes positions in the model's dtype; bf16 holds integers to 256 exactly.
        return ids.to(self.dtype)


def config(network: torch.nn.Module) -> Any:
    """Read a network's configuration, whose attributes torch's types do not know."""
    return network.config


def _with_zero_rows(residuals: list[Tensor] | None, rows: int) -> list[Tensor] | None:
    """Pad every residual (k, n, d) with zero rows to (rows, n, d)."""
    if residuals is None or residuals[0].shape[0] == rows:
        return residuals
    missing = rows - residuals[0].shape[0]
    return [torch.nn.functional.pad(residual, (0, 0, 0, 0, 0, missing)) for residual in residuals]
