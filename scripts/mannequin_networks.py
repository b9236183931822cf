"""The mannequin's networks: FLUX's own classes, small, and how they are kept as a folder that the loader reads."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers import transformer_flux
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from mannequin_looks import BOTTOMS, CLOTHES, CUTS, GROUNDS, HAIR, PEOPLE, SKIN, TOPS
from mannequin_recipe import CLIP_END, CLIP_TOKENS, CONTROL_GAIN, LATENT_NOISE, LATENTS, SIDE_PX
from safetensors.torch import load_file, load_model
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel

from models.mannequin.detector import unpacked
from models.tiny.texts import WORDS, build_clip_tokenizer, build_t5_tokenizer
from models.weights import BASE, CONTROLNET, INDEX

HEADS, HEAD_WIDTH = 6, 32
T5_WIDTH, CLIP_WIDTH = 96, 64
_FLUX: dict[str, Any] = {
    "in_channels": 4 * LATENTS,
    "attention_head_dim": HEAD_WIDTH,
    "num_attention_heads": HEADS,
    "joint_attention_dim": T5_WIDTH,
    "pooled_projection_dim": CLIP_WIDTH,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 14, 14),
}
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 2.0,
    "use_dynamic_shifting": False,
}
PIPELINE = {
    "_class_name": "FluxPipeline",
    "scheduler": ["diffusers", SCHEDULER["_class_name"]],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""What the base is by its index: diffusers' own pipeline reads it too."""


def vocabulary() -> tuple[str, ...]:
    """Return the words that are one token each: the tiny profile's and the captions' own."""
    spoken = [*TOPS, *BOTTOMS, *CUTS, *GROUNDS, *PEOPLE, *HAIR, *SKIN]
    own = [word for phrase in spoken for word in phrase.split()]
    more = "bald jeans sweater tank top crouching reaching lunge squat stretching upright seated knees dance fast along"
    return tuple(dict.fromkeys((*CLOTHES, *own, *more.split(), *WORDS)))


def build_tokenizers() -> tuple[Any, Any]:
    """Build CLIP's and T5's tokenizer over the vocabulary."""
    words = vocabulary()
    return build_clip_tokenizer(words), build_t5_tokenizer(words)


def build_autoencoder() -> AutoencoderKL:
    """Build the autoencoder: 8 times smaller, 16 channels; its spread is the noise it is trained with."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=SIDE_PX,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        closing = vae.encoder.conv_out
        closing.weight[LATENTS:] = 0
        closing.bias[LATENTS:] = 2 * torch.log(torch.tensor(LATENT_NOISE))
    return vae


def build_denoisers() -> dict[str, nn.Module]:
    """Build transformer, ControlNet and text encoders, as yet untrained."""
    clip_words, t5_words = build_tokenizers()
    controlnet = FluxControlNetModel(num_layers=1, num_single_layers=1, **_FLUX)
    nn.init.xavier_uniform_(controlnet.controlnet_x_embedder.weight)
    return {
        "transformer": FluxTransformer2DModel(num_layers=2, num_single_layers=4, **_FLUX),
        "controlnet": controlnet,
        "text_encoder": build_clip(len(clip_words)),
        "text_encoder_2": build_t5(len(t5_words)),
    }


def compile_blocks(network: Any) -> None:
    """Compile a transformer's or ControlNet's blocks, one kind after the other; its weights keep their names.

    All but the rotation of queries and keys: the code that torch 2.15 compiles of it together with the attention is
    wrong on its way back, on a CPU (gradients that are not numbers, or several times too large).
    Only training goes that way.
    """
    if not hasattr(transformer_flux.apply_rotary_emb, "_torchdynamo_disable"):
        transformer_flux.apply_rotary_emb = torch.compiler.disable(transformer_flux.apply_rotary_emb)  # type: ignore[no-untyped-call]
    for block in (*network.transformer_blocks, *network.single_transformer_blocks):
        block.compile()


def build_clip(words: int) -> CLIPTextModel:
    """Build CLIP's text encoder for so many tokens."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=CLIP_WIDTH,
            intermediate_size=2 * CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=CLIP_WIDTH,
            max_position_embeddings=CLIP_TOKENS,
            bos_token_id=0,
            eos_token_id=CLIP_END,
            pad_token_id=CLIP_END,
        )
    )


def build_t5(words: int) -> T5EncoderModel:
    """Build T5's encoder for so many tokens."""
    return T5EncoderModel(
        T5Config(
            vocab_size=words,
            d_model=T5_WIDTH,
            d_kv=24,
            d_ff=2 * T5_WIDTH,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def start_from(folder: Path, network: nn.Module, name: str) -> None:
    """Load what `export` wrote for a network: vae, transformer, controlnet, text_encoder, text_encoder_2 or detector.

    The encoder's spread stays as it is built. Raises FileNotFoundError, or RuntimeError for weights of other sizes.
    """
    kept = {"controlnet": folder / CONTROLNET, "detector": folder / "detector"}.get(name, folder / BASE / name)
    files = sorted(kept.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{kept} has no weights")
    if name == "detector":
        network.load_state_dict(unpacked(load_file(files[0])))
    else:
        load_model(network, files[0])
    if name == "controlnet":
        amplify(network, 1 / CONTROL_GAIN)
    config = kept / "config.json"
    if name == "vae":
        told = json.loads(config.read_text())
        network.register_to_config(shift_factor=told["shift_factor"], scaling_factor=told["scaling_factor"])  # type: ignore[operator]


@torch.no_grad()
def amplify(controlnet: Any, gain: float) -> None:
    """Make a ControlNet's residuals so much larger."""
    for projection in (*controlnet.controlnet_blocks, *controlnet.controlnet_single_blocks):
        for parameter in projection.parameters():
            parameter.mul_(gain)


def export(folder: Path, vae: Any, networks: dict[str, Any], *, dtype: torch.dtype = torch.float16) -> None:
    """Write everything in FLUX's layout, as the loader reads it; the index last, which says that all is there.

    The networks are changed on the way: to another type, and the ControlNet's residuals are amplified.
    """
    base = folder / BASE
    (base / INDEX).unlink(missing_ok=True)
    for tokenizer, name in zip(build_tokenizers(), ("tokenizer", "tokenizer_2"), strict=True):
        tokenizer.save_pretrained(base / name)
    vae.to(dtype).save_pretrained(base / "vae")
    amplify(networks["controlnet"], CONTROL_GAIN)
    for name, network in networks.items():
        network.to(dtype).save_pretrained(folder / CONTROLNET if name == "controlnet" else base / name)
    scheduler = base / "scheduler"
    scheduler.mkdir(parents=True, exist_ok=True)
    (scheduler / "scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
    (base / INDEX).write_text(json.dumps(PIPELINE, indent=2) + "\n")
