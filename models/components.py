"""The networks of one FLUX profile, loaded, and the two precisions they are run in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.schedule import Schedule


@dataclass(slots=True, kw_only=True)
class FluxComponents:
    """diffusers' and transformers' own classes, already on `device` and in eval mode.

    dtype: what pictures are drawn in; precise_dtype: what a picture that went bad is tried once more in.
    """

    transformer: nn.Module
    controlnet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    text_encoder_2: nn.Module
    tokenizer: Callable[..., Any]
    tokenizer_2: Callable[..., Any]
    schedule: Schedule
    device: torch.device
    dtype: torch.dtype
    precise_dtype: torch.dtype

    def networks(self) -> tuple[nn.Module, ...]:
        """Every network, in the order they are used."""
        return self.text_encoder, self.text_encoder_2, self.controlnet, self.transformer, self.vae

    def free(self) -> None:
        """Give the weights' memory back; the networks cannot be run any more."""
        for network in self.networks():
            network.to("meta")


class Precision:
    """Switches all networks between their own dtypes and the precise one, exactly and reversibly.

    Widening and coming back loses nothing. It holds both widths only for one parameter at a time.
    """

    def __init__(self, components: FluxComponents) -> None:
        self._components = components
        self._own: list[tuple[Tensor, torch.dtype]] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in now."""
        return self._components.dtype if self._own is None else self._components.precise_dtype

    @torch.no_grad()
    def use(self, *, precise: bool) -> None:
        """Cast the networks if they are not there yet. Call outside torch.inference_mode."""
        if precise and self._own is None:
            self._own = []
            for tensor in self._floats():
                self._own.append((tensor, tensor.dtype))
                tensor.data = tensor.data.to(self._components.precise_dtype)
        elif not precise and self._own is not None:
            for tensor, dtype in self._own:
                tensor.data = tensor.data.to(dtype)
            self._own = None

    def _floats(self) -> list[Tensor]:
        return [
            tensor
            for network in self._components.networks()
            for tensor in (*network.parameters(), *network.buffers())
            if tensor.is_floating_point()
        ]
