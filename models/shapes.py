"""Which tensors a network of a configuration has, by arithmetic: a checkpoint is checked before anything heavy starts.

The names are those of the files that `from_pretrained` reads. A test holds every table to the libraries' own networks,
built without memory at FLUX.1-dev's size and at the built-in model's.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]
Config = Mapping[str, Any]
Named = Iterator[tuple[str, Shape]]


def transformer_shapes(config: Config) -> dict[str, Shape]:
    """Return the tensors of diffusers' FluxTransformer2DModel."""
    wide = _width(config)
    out = (config.get("out_channels") or config["in_channels"]) * config["patch_size"] ** 2
    return dict(
        [
            *_flux_trunk(config),
            *_linear("norm_out.linear", wide, 2 * wide),
            *_linear("proj_out", wide, out),
        ]
    )


def controlnet_shapes(config: Config) -> dict[str, Shape]:
    """Return the tensors of diffusers' FluxControlNetModel. Raises ValueError for one with a hint encoder."""
    if config.get("conditioning_embedding_channels") is not None:
        raise ValueError("it encodes the control picture by itself")
    wide = _width(config)
    named = [*_flux_trunk(config), *_linear("controlnet_x_embedder", config["in_channels"], wide)]
    for block in range(config["num_layers"]):
        named += _linear(f"controlnet_blocks.{block}", wide, wide)
    for block in range(config["num_single_layers"]):
        named += _linear(f"controlnet_single_blocks.{block}", wide, wide)
    if config.get("num_mode") is not None:
        named.append(("controlnet_mode_embedder.weight", (config["num_mode"], wide)))
    return dict(named)


def _flux_trunk(config: Config) -> Named:
    wide, head = _width(config), config["attention_head_dim"]
    embedders = ["timestep_embedder", *(["guidance_embedder"] if config["guidance_embeds"] else [])]
    for embedder in embedders:
        yield from _linear(f"time_text_embed.{embedder}.linear_1", 256, wide)
        yield from _linear(f"time_text_embed.{embedder}.linear_2", wide, wide)
    yield from _linear("time_text_embed.text_embedder.linear_1", config["pooled_projection_dim"], wide)
    yield from _linear("time_text_embed.text_embedder.linear_2", wide, wide)
    yield from _linear("context_embedder", config["joint_attention_dim"], wide)
    yield from _linear("x_embedder", config["in_channels"], wide)
    for block in range(config["num_layers"]):
        yield from _double_block(f"transformer_blocks.{block}", wide, head)
    for block in range(config["num_single_layers"]):
        yield from _single_block(f"single_transformer_blocks.{block}", wide, head)


def _double_block(at: str, wide: int, head: int) -> Named:
    yield from _linear(f"{at}.norm1.linear", wide, 6 * wide)
    yield from _linear(f"{at}.norm1_context.linear", wide, 6 * wide)
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
        yield from _linear(f"{at}.attn.{name}", wide, wide)
    for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        yield f"{at}.attn.{name}.weight", (head,)
    for name in ("ff", "ff_context"):
        yield from _linear(f"{at}.{name}.net.0.proj", wide, 4 * wide)
        yield from _linear(f"{at}.{name}.net.2", 4 * wide, wide)


def _single_block(at: str, wide: int, head: int) -> Named:
    yield from _linear(f"{at}.norm.linear", wide, 3 * wide)
    yield from _linear(f"{at}.proj_mlp", wide, 4 * wide)
    yield from _linear(f"{at}.proj_out", 5 * wide, wide)
    for name in ("to_q", "to_k", "to_v"):
        yield from _linear(f"{at}.attn.{name}", wide, wide)
    for name in ("norm_q", "norm_k"):
        yield f"{at}.attn.{name}.weight", (head,)


def autoencoder_shapes(config: Config) -> dict[str, Shape]:
    """Return the tensors of diffusers' AutoencoderKL."""
    widths, latent = config["block_out_channels"], config["latent_channels"]
    named: list[tuple[str, Shape]] = [
        *_conv("encoder.conv_in", config["in_channels"], widths[0]),
        *_conv("encoder.conv_out", widths[-1], 2 * latent),
        *_norm("encoder.conv_norm_out", widths[-1]),
        *_conv("decoder.conv_in", latent, widths[-1]),
        *_conv("decoder.conv_out", widths[0], config["out_channels"]),
        *_norm("decoder.conv_norm_out", widths[0]),
    ]
    for side in ("encoder", "decoder"):
        named += _middle(f"{side}.mid_block", widths[-1], attends=config.get("mid_block_add_attention", True))
    resnets = config["layers_per_block"]
    named += _stack("encoder.down_blocks", "downsamplers", widths[:1] + widths, resnets)
    named += _stack("decoder.up_blocks", "upsamplers", widths[-1:] + widths[::-1], resnets + 1)
    if config.get("use_quant_conv", True):
        named += _conv("quant_conv", 2 * latent, 2 * latent, side=1)
    if config.get("use_post_quant_conv", True):
        named += _conv("post_quant_conv", latent, latent, side=1)
    return dict(named)


def _stack(at: str, sampler: str, widths: list[int], resnets: int) -> Named:
    """Name the tensors of a row of blocks; widths: what the first one is given, then what each one gives."""
    for block, (before, after) in enumerate(pairwise(widths)):
        for resnet in range(resnets):
            yield from _resnet(f"{at}.{block}.resnets.{resnet}", before if resnet == 0 else after, after)
        if block < len(widths) - 2:
            yield from _conv(f"{at}.{block}.{sampler}.0.conv", after, after)


def _middle(at: str, wide: int, *, attends: bool) -> Named:
    yield from _resnet(f"{at}.resnets.0", wide, wide)
    yield from _resnet(f"{at}.resnets.1", wide, wide)
    if attends:
        yield from _norm(f"{at}.attentions.0.group_norm", wide)
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            yield from _linear(f"{at}.attentions.0.{name}", wide, wide)


def _resnet(at: str, before: int, after: int) -> Named:
    yield from _norm(f"{at}.norm1", before)
    yield from _conv(f"{at}.conv1", before, after)
    yield from _norm(f"{at}.norm2", after)
    yield from _conv(f"{at}.conv2", after, after)
    if before != after:
        yield from _conv(f"{at}.conv_shortcut", before, after, side=1)


def clip_shapes(config: Config) -> dict[str, Shape]:
    """Return the tensors of transformers' CLIPTextModel, without the `text_model.` that older files put before them."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    named: list[tuple[str, Shape]] = [
        ("embeddings.token_embedding.weight", (config["vocab_size"], wide)),
        ("embeddings.position_embedding.weight", (config["max_position_embeddings"], wide)),
        *_norm("final_layer_norm", wide),
    ]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layers.{layer}"
        named += [*_norm(f"{at}.layer_norm1", wide), *_norm(f"{at}.layer_norm2", wide)]
        named += [*_linear(f"{at}.mlp.fc1", wide, inner), *_linear(f"{at}.mlp.fc2", inner, wide)]
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            named += _linear(f"{at}.self_attn.{name}", wide, wide)
    return dict(named)


def t5_shapes(config: Config) -> dict[str, Shape]:
    """Return the tensors of transformers' T5EncoderModel."""
    wide, inner, heads = config["d_model"], config["d_ff"], config["num_heads"]
    across = heads * config["d_kv"]
    gated = "gated" in config.get("feed_forward_proj", "relu")
    named: list[tuple[str, Shape]] = [
        ("shared.weight", (config["vocab_size"], wide)),
        ("encoder.final_layer_norm.weight", (wide,)),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            (config["relative_attention_num_buckets"], heads),
        ),
    ]
    for layer in range(config["num_layers"]):
        attention, feed = f"encoder.block.{layer}.layer.0", f"encoder.block.{layer}.layer.1"
        named += [(f"{attention}.layer_norm.weight", (wide,)), (f"{feed}.layer_norm.weight", (wide,))]
        named += [(f"{attention}.SelfAttention.{name}.weight", (across, wide)) for name in "qkv"]
        named.append((f"{attention}.SelfAttention.o.weight", (wide, across)))
        named += [
            (f"{feed}.DenseReluDense.{name}.weight", (inner, wide)) for name in (("wi_0", "wi_1") if gated else ("wi",))
        ]
        named.append((f"{feed}.DenseReluDense.wo.weight", (wide, inner)))
    return dict(named)


def _width(config: Config) -> int:
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _linear(at: str, before: int, after: int) -> Named:
    yield f"{at}.weight", (after, before)
    yield f"{at}.bias", (after,)


def _conv(at: str, before: int, after: int, side: int = 3) -> Named:
    yield f"{at}.weight", (after, before, side, side)
    yield f"{at}.bias", (after,)


def _norm(at: str, wide: int) -> Named:
    yield f"{at}.weight", (wide,)
    yield f"{at}.bias", (wide,)
