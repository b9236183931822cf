"""Modulation tables: the vectors that steer FLUX's layers, computed once a picture instead of once a step. Lossless.

Every adaptive norm of FLUX owns a linear layer that turns silu(embedding of timestep, guidance and pooled prompt) into
shifts, scales and gates. Neither the picture nor the single words enter, so all these vectors of a picture are known
before its first step. `take_out` removes the layers from a network and leaves a `Place` where each stood; their weights
stay on the host and pass through the device one by one when a picture's table is made. In a forward the network is
then given, as its pooled prompt, one tensor with each row's vectors of its current step.

With d = 3072 a double block has 12 vectors of d numbers, a single one 3, the end of the transformer 2:

                                vectors of d    parameters    bf16      a table of 28 steps
    FLUX.1-dev  (19 + 38)       344             3.247 B       6.49 GB   59.2 MB
    Union-Pro-2.0  (6 + 0)       72             0.680 B       1.36 GB   12.4 MB
    Union-Pro, InstantX (5 + 10) 90             0.850 B       1.70 GB   15.5 MB

The ControlNet's share is as large as the transformer's, so both are taken out: 7.85 of 28.1 GB. Making the tables of
all newcomers together takes one pass of those bytes, 0.3 s at 25 GB/s (PCIe 4 x16).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.embeddings import CombinedTimestepGuidanceTextProjEmbeddings, CombinedTimestepTextProjEmbeddings
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle
from diffusers.models.transformers.transformer_flux import (
    FluxSingleTransformerBlock,
    FluxTransformer2DModel,
    FluxTransformerBlock,
)
from torch import Tensor, nn
from torch.func import functional_call

_VECTORS = {AdaLayerNormZero: 6, AdaLayerNormZeroSingle: 3, AdaLayerNormContinuous: 2}


class UnknownModulation(Exception):
    """A network is not built as its modulation is known to be. Nothing was taken out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """What modulates one picture. pooled: (p,); sigmas: its schedule, (steps + 1) with the final 0."""

    pooled: Tensor
    guidance: float
    sigmas: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Modulation of both networks, each (rows, its width).

    A picture's table has a row for each of its steps, a forward one for each of its pictures.
    """

    transformer: Tensor
    controlnet: Tensor

    def rows(self, begin: int, end: int) -> "Vectors":
        """Return some rows."""
        return Vectors(transformer=self.transformer[begin:end], controlnet=self.controlnet[begin:end])


def vectors_at(tables: Sequence[Vectors | None], steps: Sequence[int]) -> Vectors | None:
    """Take a step's vectors out of each picture's table, for one forward; None for networks that make their own."""
    rows = [
        (table.transformer[step], table.controlnet[step]) for table, step in zip(tables, steps, strict=True) if table
    ]
    if not rows:
        return None
    transformer, controlnet = zip(*rows, strict=True)
    return Vectors(transformer=torch.stack(transformer), controlnet=torch.stack(controlnet))


class Place(nn.Module):
    """Stands where a linear layer was, and returns what the layer would have: its vectors out of all of a row's.

    Which ones they are is a tensor, not a number: a compiled block then serves all blocks of its kind.
    """

    slots: Tensor

    def __init__(self, first: int, count: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("slots", torch.arange(first, first + count), persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """(b, all vectors * d) -> (b, count * d)."""
        return vectors.view(len(vectors), -1, self.width).index_select(1, self.slots).flatten(1)


class Given(nn.Module):
    """Stands where the embedding was: the vectors come in as the pooled prompt, which is the last argument."""

    def forward(self, *conditioning: Tensor) -> Tensor:
        """Return the vectors, (b, all vectors * d)."""
        return conditioning[-1]


class ModulationSource:
    """The layers that were taken out of one network: it makes the tables that replace them. They stay on the host."""

    def __init__(self, embed: nn.Module, linears: Sequence[nn.Linear]) -> None:
        self._embed = embed
        self._linears = tuple(linears)
        self._is_guided = isinstance(embed, CombinedTimestepGuidanceTextProjEmbeddings)
        self.width = sum(linear.out_features for linear in linears)

    @property
    def parameters(self) -> int:
        """How many parameters the network lost by it; the embedding's, which it lost too, are not counted."""
        return sum(tensor.numel() for linear in self._linears for tensor in linear.parameters())

    def pin(self) -> None:
        """Move the weights to page-locked memory, from where a card reads them at full speed."""
        for module in (self._embed, *self._linears):
            for tensor in module.parameters():
                tensor.data = tensor.data.pin_memory()

    def tables(self, wanted: Sequence[Conditioning], *, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        """Make the tables of several pictures in one pass over the weights: (steps, width) each, on the device.

        dtype: what the network computes in; weights of another one are cast. Every number is rounded as
        FluxRunner.denoise and the network's own forward round it.
        """

        def here(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True).to(dtype)

        steps = [len(one.sigmas) - 1 for one in wanted]
        signal = nn.functional.silu(self._embedding(wanted, device, dtype))
        tables = [torch.empty(count, self.width, device=device, dtype=dtype) for count in steps]
        at = 0
        for linear in self._linears:
            vectors = nn.functional.linear(signal, here(linear.weight), here(linear.bias))
            for table, rows in zip(tables, torch.split(vectors, steps), strict=True):
                table[:, at : at + linear.out_features] = rows
            at += linear.out_features
        return tables

    def _embedding(self, wanted: Sequence[Conditioning], device: torch.device, dtype: torch.dtype) -> Tensor:
        """Embed every step of every picture, (all steps, d)."""
        numbers = [(sigma, one.guidance) for one in wanted for sigma in one.sigmas[:-1]]
        on_host = torch.tensor(numbers, dtype=torch.float32)
        if device.type == "cuda":
            on_host = on_host.pin_memory()
        sigma, guidance = on_host.to(device, non_blocking=True).unbind(dim=1)
        timestep = timestep_of(sigma, dtype).to(dtype) * 1000
        pooled = torch.cat([one.pooled.to(dtype).expand(len(one.sigmas) - 1, -1) for one in wanted])
        guided = (guidance.to(dtype) * 1000,) if self._is_guided else ()
        weights = {
            name: tensor.to(device, non_blocking=True).to(dtype) for name, tensor in self._embed.named_parameters()
        }
        embedded: Tensor = functional_call(self._embed, weights, (timestep, *guided, pooled))
        return embedded


def timestep_of(sigma: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what a network is told as its timestep, rounded as diffusers' pipeline does.

    That is through the network's dtype, at the scale of 0..1000.
    """
    return (sigma * 1000).to(dtype) / 1000


def take_out(network: Any, device: torch.device) -> ModulationSource:
    """Remove the modulation's layers from a network that is still on the host, and return them.

    device: where the network will run; for a card the layers are moved to page-locked memory. From then on the
    network takes each row's vectors, (b, width), as its `pooled_projections`; timestep and guidance are ignored.
    Raises UnknownModulation.
    """
    norms = _norms(network)
    embed = network.time_text_embed
    if type(embed) not in (CombinedTimestepGuidanceTextProjEmbeddings, CombinedTimestepTextProjEmbeddings):
        raise UnknownModulation(f"its timestep embedding is {_named(embed)}")
    width = network.inner_dim
    for norm in norms:
        _check(norm, width)
    source = ModulationSource(embed, [norm.linear for norm in norms])
    first = 0
    for norm in norms:
        count = _VECTORS[type(norm)]
        norm.silu = nn.Identity()
        norm.linear = Place(first, count, width)
        first += count
    network.time_text_embed = Given()
    if device.type == "cuda":
        source.pin()
    return source


def _norms(network: Any) -> list[Any]:
    """List the adaptive norms in the order they are used. Raises UnknownModulation."""
    if type(network) not in (FluxTransformer2DModel, FluxControlNetModel):
        raise UnknownModulation(f"it is a {_named(network)}")
    norms = []
    for kind, blocks in (
        (FluxTransformerBlock, network.transformer_blocks),
        (FluxSingleTransformerBlock, network.single_transformer_blocks),
    ):
        for block in blocks:
            if type(block) is not kind:
                raise UnknownModulation(f"one of its blocks is {_named(block)}")
            norms += [block.norm1, block.norm1_context] if kind is FluxTransformerBlock else [block.norm]
    if type(network) is FluxTransformer2DModel:
        norms.append(network.norm_out)
    return norms


def _check(norm: Any, width: int) -> None:
    count = _VECTORS.get(type(norm))
    if count is None:
        raise UnknownModulation(f"one of its norms is {_named(norm)}")
    if getattr(norm, "emb", None) is not None or type(norm.silu) is not nn.SiLU:
        raise UnknownModulation(f"a norm of it ({_named(norm)}) has more than one linear layer of its own")
    linear = norm.linear
    if type(linear) is not nn.Linear or linear.bias is None:
        raise UnknownModulation(f"a norm's layer is {_named(linear)}, not a plain linear one")
    if (linear.in_features, linear.out_features) != (width, count * width):
        raise UnknownModulation(f"a norm's layer makes {linear.out_features} numbers of {linear.in_features}")


def _named(module: object) -> str:
    return type(module).__name__
