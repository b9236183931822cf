"""Where networks stay between their uses, as a memory plan says: on the device, or in host memory and guests there.

Weights never change while pictures are drawn, so a guest's way back is free: its host copy was never given up. For a
card host memory is page-locked, which is what makes a copy to it fast and lets it run beside a computation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import apply_group_offloading
from diffusers.hooks.group_offloading import _maybe_remove_and_reapply_group_offloading
from torch import Tensor, nn

HOST = torch.device("cpu")


class Guest:
    """A network that waits in host memory and is on the device only inside `present`."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._device = device
        # Tied weights, as T5's, are one tensor here: parameters() names each once.
        self._tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
        self._at_home = [_at_home(tensor.data, device) for tensor in self._tensors]
        self._leave()

    @contextmanager
    def present(self) -> Iterator[None]:
        """Bring the whole network to the device for as long as the context lasts.

        Raises what torch raises for lack of memory; the network is then in host memory as before.
        """
        try:
            for tensor, at_home in zip(self._tensors, self._at_home, strict=True):
                tensor.data = at_home.to(self._device, non_blocking=True, copy=True)
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        for tensor, at_home in zip(self._tensors, self._at_home, strict=True):
            tensor.data = at_home


def _at_home(tensor: Tensor, device: torch.device) -> Tensor:
    on_host = tensor.to(HOST)
    return on_host.pin_memory() if device.type == "cuda" else on_host


def stream_blocks(network: Any, device: torch.device) -> None:
    """Keep a network in host memory from now on; in every forward its blocks cross the device one after the other.

    Its lists of blocks must be its direct children; what is beside them comes as a whole. On a card the next block is
    copied while one computes. The network must not be moved or cast afterwards.
    """
    on_card = device.type == "cuda"
    apply_group_offloading(
        network,
        onload_device=device,
        offload_device=HOST,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=on_card,
        # Without it every block would end with the host waiting for the card.
        record_stream=on_card,
    )


def stream_newcomers(network: nn.Module) -> None:
    """Let layers that were put into a network since, as LoRAs are, stream with their blocks, if the network does.

    diffusers' loaders do the same, but only for a pipeline's networks. Without it the first forward on a card fails.
    """
    _maybe_remove_and_reapply_group_offloading(network)


def forget(network: nn.Module) -> None:
    """Give a network's memory back, wherever it is and in whatever form; it cannot be run any more."""
    for module in network.modules():
        module._parameters.clear()
        module._buffers.clear()
