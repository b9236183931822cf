"""LoRAs for tests: small ones, written as trainers write them."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from models.shapes import transformer_shapes

SHAPES = transformer_shapes(
    {
        "patch_size": 1,
        "in_channels": 64,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 32,
        "num_attention_heads": 6,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 64,
        "guidance_embeds": True,
    }
)
"""The built-in model's tensors."""
ATTENTION = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.attn.to_v")
MODULATION = ("transformer_blocks.0.norm1.linear",)


def write_lora(
    folder: Path, name: str, *, layers: tuple[str, ...] = ATTENTION, seed: int = 1, rank: int = 4, size: float = 0.3
) -> Path:
    """Write a LoRA of random numbers for layers of the built-in model, in diffusers' own layout."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in layers:
        out, wide = SHAPES[f"{layer}.weight"]
        tensors[f"transformer.{layer}.lora_A.weight"] = size * torch.randn(rank, wide, generator=generator)
        tensors[f"transformer.{layer}.lora_B.weight"] = size * torch.randn(out, rank, generator=generator)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file(tensors, path)
    return path
