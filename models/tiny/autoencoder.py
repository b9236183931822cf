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
ANCHOR = 16.0
SCALING_FACTOR = 0.3611
SHIFT_FACTOR = 0.1159
BACKGROUND = (0, 1, 2)
FIGURE = (3, 4, 5)
TEXTURE = tuple(range(6, LATENTS))
LATENT_GAIN = 2.0
"""The encoder's latents are this times the colours in -1..1, before diffusers' shift and scale."""

_SHARPNESS = 8.0
_RAMP, _RAMP_BEGIN, _RAMP_END = 0.1, 0.5, 0.8
_MIDDLE = 0.7
_FIGURE_COLOURS = ((0.62, 0.5, 0.45), (0.28, 0.14, 0.08), (-0.42, -0.24, 0.05))
"""What a figure looks like: all of it, what a pose map's warm limbs add (arms), what its cold limbs add (legs)."""


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
    """Mix 16 latents into 16 signals, two to a group.

    0..5: the backgrounds with the figure cut out, each with its negative so that the group's mean stays 0; 6..11: the
    figure, its warm and its cold limbs, each twice for the two ends of a ramp, kept small; 12..15: textures.
    """
    mixes = torch.zeros(16, LATENTS)
    for colour, latent in enumerate(BACKGROUND):
        mixes[2 * colour, latent] = 0.5 / LATENT_GAIN
        mixes[2 * colour, list(FIGURE)] = -0.9
        mixes[2 * colour + 1] = -mixes[2 * colour]
    limbs = torch.tensor([[1.0, 1.0, 1.0], [1.5, 0.0, -1.5], [-1.5, 0.0, 1.5]])
    mixes[6:12, list(FIGURE)] = _RAMP * limbs.repeat_interleave(2, dim=0)
    mixes[12:, list(TEXTURE)] = torch.randn((4, len(TEXTURE)), generator=generator) * 0.06
    return mixes


def _write_colours(norm: Any, out: Any) -> None:
    """One hidden layer: background and figure ramps bent by silu, summed into red, green and blue in -1..1."""
    _clear(out)
    out.bias.fill_(-1)
    for colour in range(3):
        _bend(norm, 2 * colour, sharpness=_SHARPNESS, offset=_MIDDLE)
        out.weight[colour, _channel(2 * colour), 1, 1] = 2 / _SHARPNESS
    for part, look in enumerate(_FIGURE_COLOURS):
        begin, end = 6 + 2 * part, 7 + 2 * part
        steep = _SHARPNESS / _RAMP
        _bend(norm, begin, sharpness=steep, offset=-_RAMP_BEGIN * _RAMP)
        _bend(norm, end, sharpness=steep, offset=-_RAMP_END * _RAMP)
        rise = torch.tensor(look) * 2 / (steep * (_RAMP_END - _RAMP_BEGIN) * _RAMP)
        out.weight[:, _channel(begin), 1, 1] = rise
        out.weight[:, _channel(end), 1, 1] = -rise
    for texture in range(12, 16):
        _bend(norm, texture, sharpness=_SHARPNESS, offset=0.0)
        out.weight[texture % 3, _channel(texture), 1, 1] = 0.6 / _SHARPNESS


def _bend(norm: Any, signal: int, *, sharpness: float, offset: float) -> None:
    """Let the silu behind the norm see sharpness * (signal + offset)."""
    norm.weight[_channel(signal)] *= sharpness
    norm.bias[_channel(signal)] = sharpness * offset


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
