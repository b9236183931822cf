"""The networks of one FLUX profile, loaded, and the two precisions they are run in."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.modulation import ModulationSource
from models.placement import Guest, forget
from models.schedule import Schedule


@dataclass(slots=True, kw_only=True)
class FluxComponents:
    """diffusers' and transformers' own classes, in eval mode and ready to run on `device`.

    dtype: what pictures are drawn in; precise_dtype: what a picture that went bad is tried once more in.
    modulation: what was taken out of transformer and ControlNet, None while they hold it themselves. guests: networks
    that must be brought to the device before they are run, by `at_hand`. widens: the weights can be cast to
    precise_dtype: they are not quantised, and none of them comes and goes.
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
    modulation: tuple[ModulationSource, ModulationSource] | None = None
    guests: dict[nn.Module, Guest] = field(default_factory=dict)
    widens: bool = True

    def networks(self) -> tuple[nn.Module, ...]:
        """Every network, in the order they are used."""
        return self.text_encoder, self.text_encoder_2, self.controlnet, self.transformer, self.vae

    def at_hand(self, network: nn.Module) -> AbstractContextManager[None]:
        """Have a network on the device inside the context. Raises what torch raises for lack of memory."""
        guest = self.guests.get(network)
        return nullcontext() if guest is None else guest.present()

    def free(self) -> None:
        """Give the weights' memory back; the networks cannot be run any more."""
        for network in self.networks():
            forget(network)
        self.modulation = None
        self.guests.clear()


class Precision:
    """Switches all networks between their own dtypes and the precise one, exactly and reversibly.

    Widening and coming back loses nothing. It holds both widths only for one parameter at a time. Nothing is ever
    computed in a mixture: a widening that fails is taken back, and a way back that fails is finished by the next `use`.

    Networks that do not widen stay as they are. A precise picture is then drawn once more in what there is, alone and
    with its seed: that mends what a neighbour or a passing fault of the card did, and an overflow comes again.
    """

    def __init__(self, components: FluxComponents) -> None:
        self._components = components
        self._is_precise = False
        # Every tensor that is wide now, with its own dtype.
        self._wide: list[tuple[Tensor, torch.dtype]] = []

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in now."""
        return self._components.precise_dtype if self._is_precise else self._components.dtype

    @torch.no_grad()
    def use(self, *, precise: bool) -> None:
        """Cast the networks if they are not there yet. Call outside torch.inference_mode.

        Raises what torch raises for lack of memory: the networks are in their own dtypes, or will be before anything
        is computed.
        """
        if precise and self._is_precise:
            return
        self._narrow()
        if precise and self._components.widens:
            try:
                self._widen()
            except BaseException:
                self._narrow()
                raise

    def _widen(self) -> None:
        for tensor in self._floats():
            dtype = tensor.dtype
            tensor.data = tensor.data.to(self._components.precise_dtype)
            self._wide.append((tensor, dtype))
        self._is_precise = True

    def _narrow(self) -> None:
        self._is_precise = False
        while self._wide:
            tensor, dtype = self._wide[-1]
            try:
                tensor.data = tensor.data.to(dtype)
            except RuntimeError:
                _narrow_through_host(tensor, dtype)
            self._wide.pop()

    def _floats(self) -> list[Tensor]:
        return [
            tensor
            for network in self._components.networks()
            for tensor in (*network.parameters(), *network.buffers())
            if tensor.is_floating_point()
        ]


def _narrow_through_host(tensor: Tensor, dtype: torch.dtype) -> None:
    """Cast where the device has no room for both widths: the wide one is given back before the narrow one comes."""
    device = tensor.device
    tensor.data = tensor.data.cpu().to(dtype)
    tensor.data = tensor.data.to(device)


def config(network: nn.Module) -> Any:
    """Read a network's configuration, whose attributes torch's types do not know."""
    return network.config
