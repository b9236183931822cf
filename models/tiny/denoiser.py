"""The tiny profile's transformer and ControlNet: diffusers' FLUX classes with weights written down, not learned.

They are the exact denoiser of a simple world: every latent is a mean plus independent noise of a known spread. For
x = (1 - sigma) * x0 + sigma * noise with x0 = mean + spread * noise', the velocity is a(sigma) * x + b(sigma) * mean:

    a = (sigma - (1 - sigma) * spread^2) / d,   b = -sigma / d,   d = (1 - sigma)^2 * spread^2 + sigma^2

The residual stream of a token holds x in features 0..63, the mean in 64..127, anchors that make the layer norm's
variance a known number in 128..131, and free features behind. Blocks read everything and write the mean and the free
features only: head 0 of the first block looks for names of colours among the words and brings their colour to the
background, the rest is random and makes every prompt, guidance and neighbourhood matter a little. The ControlNet reads
the pose map's colours and adds the figure to the mean. a and b are fitted to the time embedding by least squares.
"""

import math
from typing import Any

import torch
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor, nn

from models.tiny import autoencoder as vae
from models.tiny.texts import CLIP_WIDTH, COLOUR_FLAG, T5_WIDTH

HEADS, HEAD_WIDTH = 6, 32
WIDTH = HEADS * HEAD_WIDTH
PACKED = 4 * vae.LATENTS
MEAN = PACKED
ANCHORS = 2 * PACKED
FREE = ANCHORS + 4
ANCHOR = 30.0

# The time, the guidance and the prompt have features of their own in the modulation vector.
TIME, GUIDANCE, PROMPT = slice(0, 96), slice(96, 112), slice(112, WIDTH)

_SPREADS = {**dict.fromkeys(vae.BACKGROUND, 0.1), **dict.fromkeys(vae.FIGURE, 0.1), **dict.fromkeys(vae.TEXTURE, 0.6)}
_COLOUR_PULL = 0.3
_FIGURE_PULL = 8.0
_TINT = 0.12
_SLOWEST = 71
"""Of the 128 frequencies of the time embedding, those from here on vary slowly enough to fit smooth functions of it."""

_SHARED = {
    "in_channels": PACKED,
    "attention_head_dim": HEAD_WIDTH,
    "num_attention_heads": HEADS,
    "joint_attention_dim": T5_WIDTH,
    "pooled_projection_dim": CLIP_WIDTH,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 14, 14),
}


@torch.no_grad()
def build_transformer(generator: torch.Generator) -> FluxTransformer2DModel:
    """Build FLUX with 2 double and 2 single blocks."""
    flux = FluxTransformer2DModel(num_layers=2, num_single_layers=2, **_SHARED)
    _randomise(flux, generator)
    _write_stream(flux)
    _write_modulation(flux.time_text_embed, generator)
    for block in (*flux.transformer_blocks, *flux.single_transformer_blocks):
        _quieten(block, generator)
    _write_colour_head(flux.transformer_blocks[0].attn)
    _write_output(flux, generator)
    return flux


@torch.no_grad()
def build_controlnet(generator: torch.Generator) -> FluxControlNetModel:
    """Build a ControlNet with 1 double and 1 single block whose closing layers are not zero."""
    net = FluxControlNetModel(num_layers=1, num_single_layers=1, **_SHARED)
    _randomise(net, generator)
    _write_stream(net)
    _write_modulation(net.time_text_embed, generator)
    for block in (*net.transformer_blocks, *net.single_transformer_blocks):
        _quieten(block, generator)
    _write_figure(net, generator)
    return net


def _randomise(network: Any, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, module.in_features**-0.5, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


def _write_stream(network: Any) -> None:
    """Put x and the anchors into an image token's stream, and the colours of words into a text token's."""
    embed = network.x_embedder
    embed.weight.zero_()
    embed.weight[:PACKED].copy_(torch.eye(PACKED))
    anchors = torch.tensor([ANCHOR, ANCHOR, -ANCHOR, -ANCHOR])
    embed.bias[ANCHORS:FREE] = anchors
    words = network.context_embedder
    words.weight[:FREE] = 0
    words.weight[: COLOUR_FLAG + 1, : COLOUR_FLAG + 1] = torch.eye(COLOUR_FLAG + 1)
    words.bias[ANCHORS:FREE] = anchors


def _write_modulation(embed: Any, generator: torch.Generator) -> None:
    """Give time, guidance and prompt disjoint features; the first two are smooth in their number."""
    for embedder, features in ((embed.timestep_embedder, TIME), (embed.guidance_embedder, GUIDANCE)):
        first = embedder.linear_1
        first.weight.zero_()
        for half in (0, 128):
            slow = first.weight[:, half + _SLOWEST : half + 128]
            slow.normal_(0, 0.4, generator=generator)
        first.bias.normal_(0, 1, generator=generator)
        _keep_rows(embedder.linear_2, features)
    _keep_rows(embed.text_embedder.linear_2, PROMPT)


def _keep_rows(layer: Any, rows: slice) -> None:
    kept = layer.weight[rows].clone()
    layer.weight.zero_()
    layer.weight[rows] = kept


def _quieten(block: Any, generator: torch.Generator) -> None:
    """Let a block add small random things to the background's and the texture's mean and to the free features."""
    spread = (WIDTH / (4 * ANCHOR**2)) ** -0.5  # what the layer norm divides by
    writable = _writable()
    for name, module in block.named_modules():
        if name.startswith("norm") and isinstance(module, nn.Linear):
            # Modulation: scales and shifts vary a little with time, guidance and prompt; gates are open by a tenth.
            module.weight.mul_(0.05)
            parts = module.bias.view(-1, WIDTH)
            parts[2::3] = 0.1
        elif name.endswith(("to_v", "add_v_proj", "proj_mlp", "ff.net.0.proj", "ff_context.net.0.proj")):
            module.weight.mul_(spread)
            module.weight[:, ANCHORS:FREE] = 0
        elif name.endswith(("to_out.0", "to_add_out", "ff.net.2", "ff_context.net.2", "proj_out")):
            module.weight.mul_(writable[:, None])


def _writable() -> Tensor:
    """Return per feature how much blocks may write: nothing into x, the figure's mean and the anchors."""
    amount = torch.zeros(WIDTH)
    for latent in (*vae.BACKGROUND, *vae.TEXTURE):
        amount[MEAN + 4 * latent : MEAN + 4 * latent + 4] = 0.05 if latent in vae.BACKGROUND else 0.4
    amount[FREE:] = 1.0
    return amount


def _write_colour_head(attention: Any) -> None:
    """Make head 0 look at the words that are colours, and add the mean of their colours to the background's mean.

    Its queries and text keys live in the first rotary axis, which is 0 for every token, so it sees no positions.
    """
    head = slice(0, HEAD_WIDTH)
    spread = (WIDTH / (4 * ANCHOR**2)) ** -0.5
    for projection in (attention.to_q, attention.to_k, attention.add_q_proj, attention.add_k_proj):
        projection.weight[head] = 0
        projection.bias[head] = 0
    attention.to_q.bias[0] = 1
    attention.to_k.bias[1] = 1
    # The flag is 1 for colours and negative for other words: the key turns from feature 0 to feature 1.
    attention.add_k_proj.weight[0, COLOUR_FLAG] = spread
    attention.add_k_proj.bias[1] = 0.3
    for projection in (attention.to_v, attention.add_v_proj):
        projection.weight[head] = 0
    colours = range(COLOUR_FLAG)
    for colour in colours:
        attention.add_v_proj.weight[colour, colour] = spread
    out = attention.to_out[0].weight
    out[:, head] = 0
    gate = 0.1
    for colour, latent in zip(colours, vae.BACKGROUND, strict=True):
        out[MEAN + 4 * latent : MEAN + 4 * latent + 4, colour] = _COLOUR_PULL / gate


def _write_output(flux: FluxTransformer2DModel, generator: torch.Generator) -> None:
    """Fit a(sigma) and b(sigma) to the time's modulation, and let the prompt tint the picture."""
    sigma = torch.linspace(0.0, 1.0, 401, dtype=torch.float64)
    embed = flux.time_text_embed
    projected = embed.time_proj(sigma.float() * 1000)
    features = nn.functional.silu(embed.timestep_embedder(projected))[:, TIME].double()
    features = torch.cat([features, torch.ones(len(sigma), 1, dtype=torch.float64)], dim=1)
    norm_scale = math.sqrt(4 * ANCHOR**2 / WIDTH)
    modulation = flux.norm_out.linear
    modulation.weight.zero_()
    modulation.bias.zero_()
    for latent, spread in _SPREADS.items():
        below = (1 - sigma) ** 2 * spread**2 + sigma**2
        curves = ((sigma - (1 - sigma) * spread**2) / below, -sigma / below)
        for start, curve in zip((0, MEAN), curves, strict=True):
            fitted = _fit(features, curve * norm_scale - 1)
            rows = slice(start + 4 * latent, start + 4 * latent + 4)
            modulation.weight[rows, TIME] = fitted[:-1].float()
            modulation.bias[rows] = fitted[-1].float()
    _write_tint(flux, generator)
    flux.proj_out.weight.zero_()
    flux.proj_out.weight[:, :PACKED] = torch.eye(PACKED)
    flux.proj_out.weight[:, MEAN : MEAN + PACKED] = torch.eye(PACKED)


def _fit(features: Tensor, curve: Tensor) -> Tensor:
    """Solve ridge least squares, so the weights stay small enough for bf16."""
    gram = features.T @ features
    ridge = 1e-7 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved: Tensor = torch.linalg.solve(gram + ridge, features.T @ curve)
    return solved


def _write_tint(flux: FluxTransformer2DModel, generator: torch.Generator) -> None:
    """Let the prompt's pooled vector and, faintly, the guidance shift the picture, around no shift at all."""
    modulation: Any = flux.norm_out.linear
    embed: Any = flux.time_text_embed
    usual = nn.functional.silu(embed.text_embedder(torch.randn(256, CLIP_WIDTH, generator=generator))).mean(dim=0)
    for latent in (*vae.BACKGROUND, *vae.TEXTURE):
        tint = torch.randn(WIDTH - PROMPT.start, generator=generator) * _TINT
        rows = slice(WIDTH + 4 * latent, WIDTH + 4 * latent + 4)
        modulation.weight[rows, PROMPT] = tint
        modulation.weight[rows, GUIDANCE] = torch.randn(16, generator=generator) * 0.01
        modulation.bias[rows] = -(tint @ usual[PROMPT])


def _write_figure(net: FluxControlNetModel, generator: torch.Generator) -> None:
    """Read the map's colours into the free features; the closing layers turn them into the figure's mean."""
    entry = net.controlnet_x_embedder
    entry.weight.zero_()
    entry.bias.zero_()
    black = vae.scaled(-vae.LATENT_GAIN)
    for closing in (*net.controlnet_blocks, *net.controlnet_single_blocks):
        closing.weight.normal_(0, 0.004, generator=generator)
        closing.weight *= _writable()[:, None]
        closing.weight[:, ANCHORS:FREE] = 0
        closing.bias.zero_()
    for primary, (seen, drawn) in enumerate(zip(vae.BACKGROUND, vae.FIGURE, strict=True)):
        for cell in range(4):
            feature = FREE + 4 * primary + cell
            entry.weight[feature, 4 * seen + cell] = 1
            entry.bias[feature] = -black
            # The residual is added after each of the two double blocks.
            net.controlnet_blocks[0].weight[MEAN + 4 * drawn + cell, feature] = _FIGURE_PULL / 2
    for block in (*net.transformer_blocks, *net.single_transformer_blocks):
        for name, module in block.named_modules():
            if name.endswith(("to_out.0", "ff.net.2", "proj_out")):
                module.weight[FREE : FREE + 12] = 0
