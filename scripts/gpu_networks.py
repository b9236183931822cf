"""The networks that `bench_gpu.py` measures: real weights where they are, else FLUX's true architecture at random.

Random weights are N(0, 0.02), also in the layers of the ControlNet that training starts at zero, and inputs are random
too: a card multiplies zeros faster. They are made on the card, in seconds, and never written to disk. The text encoders
are made only for the end-to-end cell; everywhere else encoded prompts are random numbers.

All ways share one set of weights. A way that changes a network gets a copy of its structure, which holds the very same
tensors but for those that it replaces.
"""

import copy
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from flux_configs import CLIP, FLUX, T5, UNION_PRO, UNION_PRO_2, VAE
from torch import nn
from transformers import CLIPTextConfig, CLIPTokenizer, T5Config, T5Tokenizer
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.t5.modeling_t5 import T5EncoderModel

from models.components import FluxComponents, config
from models.errors import WeightsMissing
from models.library_noise import quiet_libraries
from models.loading import load_components, weight_folders
from models.memory_plan import WeightPrecision
from models.modulation import take_out
from models.profiles import Profile
from models.quantising import quantise
from models.runner import FluxRunner, Words
from models.schedule import Schedule
from models.tiny import tiny_folder
from models.weights import BASE, CONTROLNET

ADAPTIVE_NORMS = (AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous)
SPREAD = 0.02
SEED = 20_261_124


@dataclass(frozen=True, slots=True, kw_only=True)
class Configs:
    """What networks are built from."""

    transformer: dict[str, Any]
    controlnet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    text_encoder_2: dict[str, Any]


def configs_of(profile: Profile, models_dir: Path) -> Configs:
    """Return a profile's configurations; of the built-in model, those of its files."""
    if profile.base is not None:
        controlnet = UNION_PRO_2 if profile.control_mode is None else UNION_PRO
        return Configs(transformer=FLUX, controlnet=controlnet, vae=VAE, text_encoder=CLIP, text_encoder_2=T5)
    base = tiny_folder(models_dir) / BASE
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2")
    read = {part: json.loads((base / part / "config.json").read_text()) for part in parts}
    controlnet = json.loads((base.parent / CONTROLNET / "config.json").read_text())
    return Configs(controlnet=controlnet, **read)


def open_networks(profile: Profile, device: torch.device, models_dir: Path, *, weights: str) -> tuple[FluxRunner, bool]:
    """Return a runner of the profile's networks, and whether their weights are the real ones.

    weights: `real`, `random`, or `auto` for the real ones where they are. Raises what loading raises.
    """
    if weights != "random":
        try:
            folders = weight_folders(profile, models_dir)
            return FluxRunner(profile, load_components(folders, device, profile)), True
        except WeightsMissing:
            if weights == "real":
                raise
    return WordlessRunner(profile, random_components(profile, device, models_dir)), False


class WordlessRunner(FluxRunner):
    """A runner without text encoders: an encoded prompt is random numbers, the same ones for the same words."""

    def encode_words(self, prompts: Sequence[str]) -> list[Words]:
        """Make up as many numbers as the text encoders would give."""
        transformer = config(self.parts.transformer)
        words = []
        for prompt in prompts:
            chance = torch.Generator("cpu").manual_seed(zlib.crc32(prompt.encode()))
            shapes: tuple[tuple[int, ...], ...] = (
                (self.profile.text_tokens, transformer.joint_attention_dim),
                (transformer.pooled_projection_dim,),
            )
            embeds, pooled = (torch.randn(shape, generator=chance).to(self.device, self.dtype) for shape in shapes)
            words.append(Words(embeds=embeds, pooled=pooled))
        return words


def random_components(profile: Profile, device: torch.device, models_dir: Path) -> FluxComponents:
    """Make transformer, ControlNet and autoencoder at random, on the device; the text encoders are missing."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    configs, base = configs_of(profile, models_dir), tiny_folder(models_dir) / BASE

    def make(kind: Any, its: dict[str, Any]) -> nn.Module:
        return at_random(lambda: kind.from_config(its), device, dtype)

    return FluxComponents(
        transformer=make(FluxTransformer2DModel, configs.transformer),
        controlnet=make(FluxControlNetModel, configs.controlnet),
        vae=make(AutoencoderKL, configs.vae),
        text_encoder=nn.Identity(),
        text_encoder_2=nn.Identity(),
        # FLUX's own come with its weights. The built-in model's words are among the first of theirs.
        tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True),
        tokenizer_2=T5Tokenizer.from_pretrained(base / "tokenizer_2", local_files_only=True),
        # The built-in model's schedule is FLUX.1-dev's.
        schedule=Schedule.from_config(json.loads((base / "scheduler" / "scheduler_config.json").read_text())),
        device=device,
        dtype=dtype,
        precise_dtype=torch.float32 if device.type == "cuda" else torch.float64,
    )


def with_texts(runner: FluxRunner, models_dir: Path) -> FluxRunner:
    """Return a runner that really encodes prompts, over the same networks; makes the text encoders if they are missing.

    Nothing but the time of random text encoders means anything.
    """
    if not isinstance(runner, WordlessRunner):
        return runner
    configs, parts = configs_of(runner.profile, models_dir), runner.parts
    if isinstance(parts.text_encoder_2, nn.Identity):
        clip, t5 = CLIPTextConfig(**configs.text_encoder), T5Config(**configs.text_encoder_2)
        parts.text_encoder = at_random(lambda: CLIPTextModel(clip), parts.device, parts.dtype)
        parts.text_encoder_2 = at_random(lambda: T5EncoderModel(t5), parts.device, parts.dtype)
    return FluxRunner(runner.profile, parts, attention=runner.attention, blocks=runner.blocks)


def at_random(make: Any, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Build a network on the device in one dtype, with N(0, 0.02) in all its weights but the scales of its norms."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), quiet_libraries():
            network: nn.Module = make()
    finally:
        torch.set_default_dtype(before)
    chance = torch.Generator(device).manual_seed(SEED)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.dim() == 1 and name.endswith("weight"):
                tensor.fill_(1.0)
            else:
                tensor.normal_(0, SPREAD, generator=chance)
    return network.eval().requires_grad_(requires_grad=False)


def sharing_copy(network: Any, *, away: Sequence[nn.Module] = ()) -> Any:
    """Copy a network's structure; the copy holds the same tensors, but for copies on the host of those in `away`."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    for module in away:
        for tensor in module.parameters():
            memo[id(tensor)] = nn.Parameter(tensor.detach().cpu(), requires_grad=False)
    memo[id(network._internal_dict)] = network._internal_dict
    return copy.deepcopy(network, memo)


def tabled(parts: FluxComponents) -> FluxComponents:
    """Return the same networks with their modulation taken out."""
    transformer, its = _without_modulation(parts.transformer, parts.device)
    controlnet, also_its = _without_modulation(parts.controlnet, parts.device)
    return replace(parts, transformer=transformer, controlnet=controlnet, modulation=(its, also_its))


def _without_modulation(network: Any, device: torch.device) -> tuple[nn.Module, Any]:
    norms = [module.linear for module in network.modules() if isinstance(module, ADAPTIVE_NORMS)]
    bare = sharing_copy(network, away=(network.time_text_embed, *norms))
    source = take_out(bare, device)
    return bare.to(device), source


def quantised(parts: FluxComponents, precision: WeightPrecision) -> FluxComponents:
    """Return the same networks with their blocks' weights in another precision. Raises LibraryMissing."""

    def smaller(network: nn.Module) -> nn.Module:
        return quantise(sharing_copy(network), precision, parts.device)

    return replace(parts, transformer=smaller(parts.transformer), controlnet=smaller(parts.controlnet), widens=False)


def copied(parts: FluxComponents) -> FluxComponents:
    """Return networks of their own over the same tensors, to be compiled without the others noticing."""
    return replace(parts, transformer=sharing_copy(parts.transformer), controlnet=sharing_copy(parts.controlnet))


def weight_bytes(parts: FluxComponents) -> int:
    """Bytes that the drawing networks of one way hold on its device: transformer, ControlNet and autoencoder."""
    tensors = {
        id(tensor): tensor
        for network in (parts.transformer, parts.controlnet, parts.vae)
        for tensor in (*network.parameters(), *network.buffers())
        if tensor.device.type == parts.device.type
    }
    return sum(_bytes(tensor) for tensor in tensors.values())


def _bytes(tensor: Any) -> int:
    """Bytes of a tensor; one of torchao's is made of several."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    return int(tensor.numel() * tensor.element_size())
