"""How much memory a profile's networks take, as data and arithmetic: parameters, and the tensors of a forward pass.

Torch-free: a plan is made before anything heavy is imported, and on machines without a card. The tensors of a forward
pass were counted on FLUX.1-dev's own classes at full width, built without memory; `tests/models/test_footprints.py`
counts them again. What a library adds on a real card (workspaces, fragmentation) is the plan's matter.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from models import shapes

WIDE_BYTES = 2
"""Bytes of a number in bf16."""

_BLOCK = re.compile(r"^((?:single_)?transformer_blocks\.\d+|encoder\.block\.\d+|encoder\.layers\.\d+)\.")
_MODULATION = re.compile(r"blocks\.\d+\.norm1?(_context)?\.linear\.|^norm_out\.linear\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """Parameters of one network, by what may be done with them.

    modulation: those that only turn time, guidance and the pooled prompt into scales and shifts. block_weights: weight
    matrices of the blocks' other linear layers, the ones that are quantised. largest_block: a whole block without its
    modulation; blocks: all of them, likewise.
    """

    parameters: int
    modulation: int = 0
    block_weights: int = 0
    blocks: int = 0
    largest_block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Everything a memory plan has to know of a profile's networks.

    width: of a token inside transformer and ControlNet. text_width: of an encoded token. text_heads: of T5.
    residuals: how many the ControlNet hands to the transformer. pixel_channels: of the autoencoder's first two levels.
    """

    transformer: NetworkSize
    controlnet: NetworkSize
    vae: NetworkSize
    text_encoder: NetworkSize
    text_encoder_2: NetworkSize
    width: int
    text_width: int
    text_heads: int
    residuals: int
    pixel_channels: tuple[int, int]

    def forward_bytes(self, size: tuple[int, int], text_tokens: int) -> int:
        """Bytes that one row of `size` (px) needs during a forward of ControlNet and transformer, in bf16.

        With n image and t text tokens of width d, a hidden state is (n + t) d numbers and a residual n d. At its worst
        moment a block holds 17 to 18 hidden states (query, key and value, their rotations in fp32, the block's input
        and what is normalised), beside the residuals that wait for it; at its end the ControlNet holds its residuals
        three times: as they were, projected, and scaled. Beside these only small tensors live, of 8 MiB at most.
        """
        image, all_tokens = _tokens(size), _tokens(size) + text_tokens
        hidden, residuals = all_tokens * self.width, self.residuals * image * self.width
        return WIDE_BYTES * max(18 * hidden + residuals, 3 * residuals) + 8 * 2**20

    def decode_bytes(self, size: tuple[int, int]) -> int:
        """Bytes that one picture needs while the autoencoder decodes it, in bf16.

        The worst moment is the last level: three tensors of the second level's channels at full resolution.
        """
        return WIDE_BYTES * 3 * self.pixel_channels[1] * prod(size)

    def encode_bytes(self, size: tuple[int, int]) -> int:
        """Bytes that one pose map needs while the autoencoder encodes it, in bf16: five tensors of the first level."""
        return WIDE_BYTES * 5 * self.pixel_channels[0] * prod(size)

    def text_bytes(self, text_tokens: int) -> int:
        """Bytes that one prompt needs while T5 encodes it, in bf16: all heads' bias twice, and twelve hidden states."""
        return WIDE_BYTES * (2 * self.text_heads * text_tokens**2 + 12 * text_tokens * self.text_width)

    def prompt_bytes(self, text_tokens: int) -> int:
        """Bytes of an encoded prompt in bf16; the pooled vector is too small to count."""
        return WIDE_BYTES * text_tokens * self.text_width

    def table_bytes(self, steps: int) -> int:
        """Bytes of one prompt's modulation over a schedule, in bf16: a layer of (d + 1) d k gives d k a step."""
        numbers = (self.transformer.modulation + self.controlnet.modulation) // (self.width + 1)
        return WIDE_BYTES * steps * numbers


def _tokens(size: tuple[int, int]) -> int:
    return (size[0] // 16) * (size[1] // 16)


def footprint_of(
    *,
    transformer: Mapping[str, Any],
    controlnet: Mapping[str, Any],
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    text_encoder_2: Mapping[str, Any],
) -> Footprint:
    """Work out the footprint of networks from their configurations (what their config.json says)."""
    return Footprint(
        transformer=_size(shapes.transformer_shapes(transformer)),
        controlnet=_size(shapes.controlnet_shapes(controlnet)),
        vae=_size(shapes.autoencoder_shapes(vae)),
        text_encoder=_size(shapes.clip_shapes(text_encoder)),
        text_encoder_2=_size(shapes.t5_shapes(text_encoder_2)),
        width=transformer["num_attention_heads"] * transformer["attention_head_dim"],
        text_width=text_encoder_2["d_model"],
        text_heads=text_encoder_2["num_heads"],
        residuals=controlnet["num_layers"] + controlnet["num_single_layers"],
        pixel_channels=(vae["block_out_channels"][0], vae["block_out_channels"][1]),
    )


def _size(tensors: Mapping[str, shapes.Shape]) -> NetworkSize:
    modulation = block_weights = 0
    blocks: dict[str, int] = defaultdict(int)
    for name, shape in tensors.items():
        block = _BLOCK.match(name)
        if _MODULATION.search(name):
            modulation += prod(shape)
        elif block is not None:
            blocks[block[1]] += prod(shape)
            block_weights += prod(shape) if len(shape) == 2 else 0
    return NetworkSize(
        parameters=sum(map(prod, tensors.values())),
        modulation=modulation,
        block_weights=block_weights,
        blocks=sum(blocks.values()),
        largest_block=max(blocks.values(), default=0),
    )
