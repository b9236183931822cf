"""The tiny profile's autoencoder: diffusers' AutoencoderKL with weights written down instead of learned.

Latent channels, each on an 8x8 cell: 0..2 the colour of the background, 3..5 how much of the figure is there, one
channel for each primary colour of a pose map, 6..15 faint texture. The encoder puts a picture's mean colours into
0..2. The decoder draws the background where there is no figure and lets the figure's soft field cut sharp edges.

Every block is residual and its second convolution nearly zero, so signals pass through it; where a group norm stands
in the way, constant channels beside the signal make its variance a known number that the norm's weights undo.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

WIDTH = 32
GROUPS = 8
LATENTS = 16
ANCHOR = 8.0
SCALING_FACTOR = 0.3611
SHIFT_FACTOR = 0.1159
BACKGROUND = (0, 1, 2)
FIGURE = (3, 4, 5)
TEXTURE = tuple(range(6, LATENTS))
LATENT_GAIN = 2.0
"""The encoder's latents are this times the colours in -1..1, before diffusers' shift and scale."""

_SHARPNESS = 8.0
_FIGURE_COLOURS = ((0.55, 0.16, 0.2), (0.93, 0.72, 0.56), (0.16, 0.22, 0.42))
"""What red, green and blue limbs of a pose map look like in a picture: jacket, skin, trousers."""


def scaled(latent: float) -> float:
    """Return what a decoder-side latent is on the transformer's side."""
    return (latent - SHIFT_FACTOR) * SCALING_FACTOR


@torch.no_grad()
def build_autoencoder(generator: torch.Generator) -> AutoencoderKL:
    """Build it."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(WIDTH,) * 4,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=GROUPS,
        sample_size=256,
        scaling_factor=SCALING_FACTOR,
        shift_factor=SHIFT_FACTOR,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0, 0.05, generator=generator)
            module.bias.zero_()  # type: ignore[union-attr]
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            module.weight.mul_(0.02)
    _write_encoder(vae.encoder)
    _write_decoder(vae.decoder, generator)
    return vae


def _write_encoder(encoder: Any) -> None:
    """Colours r, g, b live in channels 4k and, negated, 4k + 1; 4k + 2 and 4k + 3 hold the anchors of the group."""
    _clear(encoder.conv_in)
    for colour in range(3):
        encoder.conv_in.weight[4 * colour, colour, 1, 1] = 1
        encoder.conv_in.weight[4 * colour + 1, colour, 1, 1] = -1
    _add_anchors(encoder.conv_in)
    for block in encoder.down_blocks[:-1]:
        shrink = block.downsamplers[0].conv
        _clear(shrink)
        for channel in range(WIDTH):
            # diffusers pads right and below only: taps 0 and 1 are the two pixels of a cell.
            shrink.weight[channel, channel, :2, :2] = 0.25
    _undo_norm(encoder.conv_norm_out)
    _clear(encoder.conv_out)
    for colour, latent in enumerate(BACKGROUND):
        # silu(x) - silu(-x) = x
        encoder.conv_out.weight[latent, 4 * colour, 1, 1] = LATENT_GAIN
        encoder.conv_out.weight[latent, 4 * colour + 1, 1, 1] = -LATENT_GAIN
    encoder.conv_out.bias[LATENTS:] = -30  # log variance: the posterior is a point


def _write_decoder(decoder: Any, generator: torch.Generator) -> None:
    """Channels 4k and 4k + 1 carry signals, 4k + 2 and 4k + 3 anchors: 16 signals, named in `_signals`."""
    signals = _signals(generator)
    _clear(decoder.conv_in)
    blur = torch.tensor([0.25, 0.5, 0.25])
    blur = blur[:, None] * blur[None, :]
    for index, mix in enumerate(signals):
        decoder.conv_in.weight[_channel(index)] = mix[:, None, None] * blur
    _add_anchors(decoder.conv_in)
    for block in decoder.up_blocks[:-1]:
        grow = block.upsamplers[0].conv
        _clear(grow)
        for channel in range(WIDTH):
            grow.weight[channel, channel, 1, 1] = 1
        for index in range(len(signals)):
            grow.weight[_channel(index), _channel(index)] = blur
    _undo_norm(decoder.conv_norm_out)
    _write_colours(decoder.conv_norm_out, decoder.conv_out)


def _signals(generator: torch.Generator) -> Tensor:
    """Mix 16 latents into 16 signals: 3 backgrounds with the figure cut out, 2 ramps per limb colour, 7 textures."""
    mixes = torch.zeros(16, LATENTS)
    for colour, latent in enumerate(BACKGROUND):
        mixes[colour, latent] = 0.5 / LATENT_GAIN
        mixes[colour, list(FIGURE)] = -3.0
    for limb, latent in enumerate(FIGURE):
        mixes[3 + 2 * limb, latent] = 1
        mixes[4 + 2 * limb, latent] = 1
    mixes[9:, list(TEXTURE)] = torch.randn((7, len(TEXTURE)), generator=generator) * 0.12
    return mixes


def _write_colours(norm: Any, out: Any) -> None:
    """One hidden layer: background and figure ramps bent by silu, summed into red, green and blue in -1..1."""
    offsets = torch.zeros(16)
    offsets[:3] = 0.5
    offsets[3:9:2] = -0.3
    offsets[4:9:2] = -0.55
    _clear(out)
    out.bias.fill_(-1)
    for index in range(16):
        norm.weight[_channel(index)] *= _SHARPNESS
        norm.bias[_channel(index)] = _SHARPNESS * offsets[index]
    unit = 2 / _SHARPNESS
    for colour in range(3):
        out.weight[colour, _channel(colour), 1, 1] = unit
    for limb, look in enumerate(_FIGURE_COLOURS):
        height = 1 / 0.25
        out.weight[:, _channel(3 + 2 * limb), 1, 1] = torch.tensor(look) * unit * height
        out.weight[:, _channel(4 + 2 * limb), 1, 1] = -torch.tensor(look) * unit * height
    for index in range(9, 16):
        out.weight[index % 3, _channel(index), 1, 1] = 0.6 / _SHARPNESS


def _channel(signal: int) -> int:
    return 4 * (signal // 2) + signal % 2


def _clear(layer: Any) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


def _add_anchors(layer: Any) -> None:
    layer.bias[2::4] = ANCHOR
    layer.bias[3::4] = -ANCHOR


def _undo_norm(norm: Any) -> None:
    """In a group (x, y, anchor, -anchor) with small x and y the deviation is anchor / sqrt 2."""
    norm.weight.fill_(ANCHOR / 2**0.5)
    norm.bias.zero_()
