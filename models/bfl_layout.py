"""FLUX's transformer as Black Forest Labs name it: which of diffusers' tensors lie one after another in each of theirs.

The single files that people pass on (flux1-dev.safetensors and its kin) are in this layout. diffusers converts them
too, but for the width of 3072 only and with every tensor in memory twice; a test holds this table to its conversion.
Torch-free: a single file is checked from its header like any other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "model.diffusion_model."
"""Stands before every name in files that hold other networks too."""
SWAPPED = "final_layer.adaLN_modulation.1"
"""The one layer whose halves diffusers keeps the other way round: scale before shift."""

_WHOLE = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    SWAPPED: "norm_out.linear",
}
_GUIDANCE = {
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
}
_DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_DOUBLE_NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
}
_SINGLE = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
_SINGLE_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}

Layout = dict[str, tuple[str, ...]]
"""For each of their tensors diffusers' tensors in it, stacked along the first side."""


def is_bfl(names: Iterable[str]) -> bool:
    """Tell whether a file's tensors are named in this layout."""
    return any(name.removeprefix(PREFIX).startswith("double_blocks.") for name in names)


def bfl_layout(config: Mapping[str, Any]) -> Layout:
    """Return the layout of a transformer with diffusers' configuration."""
    layers: Layout = {theirs: (ours,) for theirs, ours in _WHOLE.items()}
    if config["guidance_embeds"]:
        layers |= {theirs: (ours,) for theirs, ours in _GUIDANCE.items()}
    scales: Layout = {}
    for kind, ours, count, linears, norms in (
        ("double_blocks", "transformer_blocks", config["num_layers"], _DOUBLE, _DOUBLE_NORMS),
        ("single_blocks", "single_transformer_blocks", config["num_single_layers"], _SINGLE, _SINGLE_NORMS),
    ):
        for block in range(count):
            at = f"{ours}.{block}"
            for theirs, names in linears.items():
                layers[f"{kind}.{block}.{theirs}"] = tuple(f"{at}.{name}" for name in names)
            for theirs, name in norms.items():
                scales[f"{kind}.{block}.{theirs}.scale"] = (f"{at}.{name}.weight",)
    named = {
        f"{theirs}.{kind}": tuple(f"{name}.{kind}" for name in ours)
        for theirs, ours in layers.items()
        for kind in ("weight", "bias")
    }
    return named | scales


def bfl_shapes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of their tensors; shapes: those of diffusers' tensors."""
    return {
        theirs: (sum(shapes[name][0] for name in ours), *shapes[ours[0]][1:])
        for theirs, ours in bfl_layout(config).items()
    }
