"""One Euler step of some rows: the ControlNet for those that follow a control, the transformer for all.

Rows of a call share size and text length and are otherwise independent: FLUX modulates per row, so timestep, guidance
and conditioning scale are vectors. Nothing here reads a value back from the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from models import layout
from models.compiling import CompiledBlocks
from models.components import FluxComponents, Precision, config
from models.devices import uploaded
from models.modulation import Vectors, timestep_of

Residuals = tuple[list[Tensor] | None, list[Tensor] | None]
"""What the ControlNet adds to double and to single blocks, each (b, n, d); None: it has no such blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What stays the same while a batch is denoised. b rows, of which the first k may be asked to follow a control.

    embeds: (b, text tokens, d); pooled: (b, p); control: (k, n, 64) packed latents of the control pictures, or None.
    """

    embeds: Tensor
    pooled: Tensor
    control: Tensor | None

    def rows(self, begin: int, end: int) -> "Conditions":
        """Return those of some rows."""
        control = None if self.control is None or begin >= len(self.control) else self.control[begin:end]
        return Conditions(embeds=self.embeds[begin:end], pooled=self.pooled[begin:end], control=control)


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

    def rows(self, begin: int, end: int) -> "RowNumbers":
        """Return those of some rows."""
        return RowNumbers(
            sigma=self.sigma[begin:end],
            sigma_next=self.sigma_next[begin:end],
            guidance=self.guidance[begin:end],
            control_scale=self.control_scale[begin:end],
            vectors=None if self.vectors is None else self.vectors.rows(begin, end),
        )


class Denoiser:
    """Moves rows with the networks of one profile, in whatever precision they are, with compiled blocks or without."""

    def __init__(
        self,
        parts: FluxComponents,
        precision: Precision,
        blocks: CompiledBlocks,
        control_mode: int | None,
    ) -> None:
        self._parts, self._precision, self._blocks = parts, precision, blocks
        self._mode = control_mode
        self._ids: dict[tuple[int, int], Tensor] = {}

    def compiles_for(self, rows: int, following: int, size: tuple[int, int]) -> bool:
        """Tell whether code would have to be compiled for `denoise` on so many rows, the first ones with a control."""
        blocks = self._blocks
        return not all(
            blocks.has_met(self._parts.transformer, (part, size))
            and all(
                blocks.has_met(self._parts.controlnet, (controlled, size))
                for controlled in blocks.parts(min(part, max(0, following - begin)))
            )
            for begin, part in _spans(blocks.parts(rows))
        )

    def denoise(
        self, latents: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Move every row one Euler step; returns new latents, the old ones stay, and the velocity they moved with.

        latents and velocity: (b, n, 64) fp32. The rows of conditions.control follow it, the others are drawn without
        ControlNet. Compiled blocks are given the rows in parts.
        """
        hidden = latents.to(self._precision.dtype)
        velocities = [
            self._velocity(
                hidden[begin : begin + part],
                conditions.rows(begin, begin + part),
                numbers.rows(begin, begin + part),
                size,
            )
            for begin, part in _spans(self._blocks.parts(len(latents)))
        ]
        velocity = _joined(velocities).to(latents.dtype)
        step = (numbers.sigma_next - numbers.sigma).to(latents.dtype)
        return latents + step[:, None, None] * velocity, velocity

    def _velocity(self, hidden: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]) -> Tensor:
        """Run both networks for (b, n, 64) rows; returns their velocity."""
        transformer, vectors = self._parts.transformer, numbers.vectors
        double, single = self._residuals(hidden, conditions, numbers, size)

        def forward() -> Tensor:
            velocity: Tensor = transformer(
                hidden_states=hidden,
                guidance=numbers.guidance if config(transformer).guidance_embeds else None,
                pooled_projections=conditions.pooled if vectors is None else vectors.transformer,
                controlnet_block_samples=double,
                controlnet_single_block_samples=single,
                **self._shared(conditions, numbers, size),
            )[0]
            return velocity

        return self._blocks.run(transformer, (len(hidden), size), forward)

    def _residuals(
        self, hidden: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]
    ) -> Residuals:
        """Run the ControlNet for the first k rows; the residuals of the others are zero."""
        if conditions.control is None:
            return None, None
        made = [
            self._follow(
                hidden[begin : begin + part],
                conditions.rows(begin, begin + part),
                numbers.rows(begin, begin + part),
                size,
            )
            for begin, part in _spans(self._blocks.parts(len(conditions.control)))
        ]
        double, single = (
            _with_zero_rows(_joined_each(residuals), len(hidden)) for residuals in zip(*made, strict=True)
        )
        return double, single

    def _follow(self, hidden: Tensor, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]) -> Residuals:
        """Run the ControlNet for rows that all have a control."""
        controlnet, vectors = self._parts.controlnet, numbers.vectors
        modes = None
        if self._mode is not None:
            modes = torch.full((len(hidden), 1), self._mode, dtype=torch.long, device=self._parts.device)

        def forward() -> Residuals:
            residuals: Residuals = controlnet(
                hidden_states=hidden,
                controlnet_cond=conditions.control,
                controlnet_mode=modes,
                conditioning_scale=numbers.control_scale[:, None, None].to(self._precision.dtype),
                guidance=numbers.guidance if config(controlnet).guidance_embeds else None,
                pooled_projections=conditions.pooled if vectors is None else vectors.controlnet,
                **self._shared(conditions, numbers, size),
            )
            return residuals

        return self._blocks.run(controlnet, (len(hidden), size), forward)

    def _shared(self, conditions: Conditions, numbers: RowNumbers, size: tuple[int, int]) -> dict[str, Any]:
        """Return what both networks are told."""
        return {
            "timestep": timestep_of(numbers.sigma, self._precision.dtype),
            "encoder_hidden_states": conditions.embeds,
            "txt_ids": self._text_ids(conditions.embeds.shape[1]),
            "img_ids": self._image_ids(*size),
            "return_dict": False,
        }

    def _text_ids(self, tokens: int) -> Tensor:
        return torch.zeros(tokens, 3, device=self._parts.device, dtype=self._precision.dtype)

    def _image_ids(self, width: int, height: int) -> Tensor:
        ids = self._ids.get((width, height))
        if ids is None:
            ids = self._ids[width, height] = uploaded(layout.image_ids(height // 8, width // 8), self._parts.device)
        # diffusers' pipeline passes positions in the model's dtype; bf16 holds integers to 256 exactly.
        return ids.to(self._precision.dtype)


def _spans(parts: Sequence[int]) -> list[tuple[int, int]]:
    """Return where each part begins, and how long it is."""
    return list(zip(accumulate(parts, initial=0), parts, strict=False))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _joined_each(residuals: Sequence[list[Tensor] | None]) -> list[Tensor] | None:
    """Join the residuals of several parts, block by block; a network without such blocks has none in any part."""
    blocks = [part for part in residuals if part is not None]
    return [_joined(of_block) for of_block in zip(*blocks, strict=True)] if blocks else None


def _with_zero_rows(residuals: list[Tensor] | None, rows: int) -> list[Tensor] | None:
    """Pad every residual (k, n, d) with zero rows to (rows, n, d)."""
    if residuals is None or residuals[0].shape[0] == rows:
        return residuals
    missing = rows - residuals[0].shape[0]
    return [torch.nn.functional.pad(residual, (0, 0, 0, 0, 0, missing)) for residual in residuals]
