"""The tables of names and shapes are the libraries' own networks', at FLUX.1-dev's size and at others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from flux_configs import FLUX, VAE
from transformers import CLIPTextConfig, T5Config
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.t5.modeling_t5 import T5EncoderModel

from models import shapes
from models.bfl_layout import SWAPPED, bfl_layout, bfl_shapes
from models.library_noise import quiet_libraries
from models.shapes import Shape

SMALL = {**FLUX, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 32, "axes_dims_rope": [4, 14, 14]}
T5_XXL = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 32128}


def named(network: torch.nn.Module, prefix: str = "") -> dict[str, Shape]:
    shared = {"encoder.embed_tokens.weight"}  # T5's other name for shared.weight
    return {
        name.removeprefix(prefix): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name not in shared and not name.endswith("position_ids")
    }


@pytest.mark.parametrize(
    ("kind", "table", "config"),
    [
        (FluxTransformer2DModel, shapes.transformer_shapes, FLUX),
        (FluxTransformer2DModel, shapes.transformer_shapes, {**SMALL, "guidance_embeds": False, "out_channels": 16}),
        (FluxControlNetModel, shapes.controlnet_shapes, {**FLUX, "num_layers": 6, "num_single_layers": 0}),
        (FluxControlNetModel, shapes.controlnet_shapes, {**SMALL, "num_mode": 10}),
        (AutoencoderKL, shapes.autoencoder_shapes, VAE),
        (AutoencoderKL, shapes.autoencoder_shapes, {**VAE, "mid_block_add_attention": False, "use_quant_conv": True}),
    ],
)
def test_the_tensors_of_diffusers_networks_are_known(
    kind: Any, table: Callable[[Any], dict[str, Shape]], config: dict[str, Any]
) -> None:
    with torch.device("meta"), quiet_libraries():
        network = kind.from_config(config)
    assert table(network.config) == named(network)


@pytest.mark.parametrize("feed_forward", ["gated-gelu", "relu"])
def test_the_tensors_of_t5_are_known(feed_forward: str) -> None:
    config = T5Config(**T5_XXL, feed_forward_proj=feed_forward)
    with torch.device("meta"):
        network = T5EncoderModel(config)
    assert shapes.t5_shapes(config.to_dict()) == named(network)


def test_the_tensors_of_clip_are_known() -> None:
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        network = CLIPTextModel(config)
    assert shapes.clip_shapes(config.to_dict()) == named(network, "text_model.")


def test_a_bfl_file_of_flux1_dev_is_what_diffusers_converts_to_its_own_names() -> None:
    wanted = shapes.transformer_shapes(FLUX)
    theirs = {name: torch.empty(shape, device="meta") for name, shape in bfl_shapes(FLUX, wanted).items()}
    converted = convert_flux_transformer_checkpoint_to_diffusers(theirs)
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == wanted
    assert theirs == {}  # nothing was left over


def test_every_row_of_a_bfl_file_goes_where_diffusers_puts_it() -> None:
    # One number a row is enough to see where rows go, and lets FLUX's full width fit.
    config = {**FLUX, "num_layers": 1, "num_single_layers": 1}
    wanted = shapes.transformer_shapes(config)
    generator = torch.Generator().manual_seed(1)
    theirs = {name: torch.rand(shape[:1], generator=generator) for name, shape in bfl_shapes(config, wanted).items()}
    ours = {}
    for name, parts in bfl_layout(config).items():
        stacked = torch.cat(theirs[name].chunk(2)[::-1]) if name.startswith(SWAPPED) else theirs[name]
        ours |= dict(zip(parts, stacked.split([wanted[part][0] for part in parts]), strict=True))
    converted = convert_flux_transformer_checkpoint_to_diffusers(dict(theirs))
    assert ours.keys() == converted.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in converted.items())
