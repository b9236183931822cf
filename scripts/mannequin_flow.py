"""Trains transformer, ControlNet and text encoders together, by flow matching on latents that were encoded once.

Some rows lose their caption and some their control picture, so that either works without the other; a row without
control gets no residuals at all, as in the engine. Errors weigh more where the figure is.

Guidance is distilled as in FLUX.1-dev: one forward draws what classifier-free guidance would with two. The networks as
they were before are the teacher and stay as they are: half of every batch is told a guidance g > 1 and wants the truth
and g - 1 times what words and control change in the teacher's velocity. (Networks that are their own teacher blow up:
until they tell one guidance from another, what they learn makes what they are taught larger.) All others are told 1.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from mannequin_autoencoder import device_of, encode
from mannequin_networks import build_tokenizers
from mannequin_pictures import Shard
from mannequin_recipe import (
    CAPTION_DROPOUT,
    CLIP_END,
    CLIP_TOKENS,
    CONTROL_DROPOUT,
    CONTROL_GAIN,
    FLOW_BATCH,
    TEXT_TOKENS,
)
from mannequin_training import generator_of
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models import layout

HIGHEST_GUIDANCE = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What a step needs of a shard. latents, control: (n, c, h, w) fp16, standardised; weights: (n, tokens)."""

    latents: Tensor
    control: Tensor
    weights: Tensor
    clip_ids: Tensor
    t5_ids: Tensor

    def on(self, device: torch.device) -> "Encoded":
        """Return it on a card, all of it; on the CPU it stays mapped from disk."""
        if device.type == "cpu":
            return self
        return Encoded(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Words:
    """Tokenizes as the engine does: padded to the full length, no mask."""

    def __init__(self) -> None:
        self._clip, self._t5 = build_tokenizers()

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return CLIP's and T5's ids, (n, length) each."""
        return _ids(self._clip, texts, CLIP_TOKENS), _ids(self._t5, texts, TEXT_TOKENS)


def _ids(tokenizer: Any, texts: Sequence[str], length: int) -> Tensor:
    encoded = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def to_the_longest(clip_ids: Tensor) -> Tensor:
    """Return CLIP's ids without what no row needs: it looks back only, and is asked for its first end of text."""
    longest = int((clip_ids == CLIP_END).int().argmax(dim=1).max())
    return clip_ids[:, : longest + 1]


def is_orthogonal(name: str) -> bool:
    """Say by its name whether a matrix is one of a block's own; those that tell a block its time are not."""
    return "transformer_blocks." in name and ".norm" not in name


def encode_shard(vae: Any, shard: Shard, words: Words, made_by: str) -> Encoded:
    """Encode a shard's pictures and maps, or read what was encoded; made_by: names the autoencoder."""
    kept = shard.folder / f"latents-{made_by}.pt"
    if not kept.is_file():
        scale, shift = vae.config.scaling_factor, vae.config.shift_factor
        clip_ids, t5_ids = words(shard.captions)
        encoded = {
            "latents": ((encode(vae, shard.pictures) - shift) * scale).half(),
            "control": ((encode(vae, shard.maps) - shift) * scale).half(),
            "weights": torch.from_numpy(shard.weights()),
            "clip_ids": clip_ids.short(),
            "t5_ids": t5_ids.short(),
        }
        draft = kept.with_suffix(".draft")
        torch.save(encoded, draft)
        os.replace(draft, kept)
    return Encoded(**torch.load(kept, mmap=True, weights_only=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a batch. image, control: packed (b, n, 4c) in fp32; weights: (b, n); side: latents of a side."""

    image: Tensor
    control: Tensor
    weights: Tensor
    clip_ids: Tensor
    t5_ids: Tensor
    side: int


class FlowLoss:
    """The loss of one step on encoded shards."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        shards: Sequence[Encoded],
        words: Words,
        seed: int,
        *,
        batch: int = FLOW_BATCH,
        teacher: dict[str, nn.Module] | None = None,
    ) -> None:
        """teacher: networks that guidance is distilled from."""
        self._device = device_of(networks["transformer"])
        self._networks, self._seed, self._batch = networks, seed, batch
        self._teacher = teacher
        # By then colours are right, and what is drawn at lower noise, faces and fronts, has some way to go.
        self._noise = 1.2 if teacher is None else 0.5
        self._guided = 0 if teacher is None else batch // 2
        self._shards = [shard.on(self._device) for shard in shards]
        self._no_clip, self._no_t5 = (ids.to(self._device) for ids in words([""]))

    def __call__(self, step: int) -> Tensor:
        """Return the loss of step number `step`."""
        generator = generator_of(self._seed, step)
        rows = self._rows(generator)
        without = self._draw(generator) < CAPTION_DROPOUT
        clip_ids = to_the_longest(torch.where(without[:, None], self._no_clip, rows.clip_ids))
        t5_ids = torch.where(without[:, None], self._no_t5, rows.t5_ids)
        follows = (self._draw(generator) >= CONTROL_DROPOUT).float()
        # Large even areas show through all but the most noise, so only there does a colour have to come from the words.
        sigma = torch.sigmoid(self._noise + 1.4 * torch.randn(self._batch, generator=generator)).to(self._device)
        guidance = 1 + (HIGHEST_GUIDANCE - 1) * self._draw(generator)
        guidance[self._guided :] = 1
        noise = torch.randn(rows.image.shape, generator=generator).to(self._device)
        noised = rows.image + sigma[:, None, None] * (noise - rows.image)
        wanted = noise - rows.image
        if self._teacher is not None:
            told = slice(self._guided)
            ids = clip_ids[told], t5_ids[told]
            further = self._further(self._teacher, noised[told], sigma[told], rows.control[told], follows[told], ids)
            wanted[told] += (guidance[told, None, None] - 1) * further
        drawn = velocity(
            self._networks, noised, sigma, guidance, rows.control, follows, (clip_ids, t5_ids), rows.side
        )  # fmt: skip
        error = (drawn - wanted).square().mean(dim=2)
        return (rows.weights * error).sum() / rows.weights.sum()

    @torch.no_grad()
    def _further(
        self,
        teacher: dict[str, nn.Module],
        noised: Tensor,
        sigma: Tensor,
        control: Tensor,
        follows: Tensor,
        ids: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Return what rows (b, n, 4c) are given, words, control, both or nothing, changes in the teacher's velocity."""
        empty = (self._no_clip.expand(len(noised), -1)[:, : ids[0].shape[1]], self._no_t5.expand(len(noised), -1))
        both = [torch.cat([given, nothing]) for given, nothing in zip(ids, empty, strict=True)]
        twice = sigma.repeat(2)
        moved = velocity(
            teacher,
            noised.repeat(2, 1, 1),
            twice,
            torch.ones_like(twice),
            control.repeat(2, 1, 1),
            torch.cat([follows, torch.zeros_like(follows)]),
            (both[0], both[1]),
            self._shards[0].latents.shape[-1],
        )
        given, nothing = moved.chunk(2)
        return given - nothing

    def _draw(self, generator: torch.Generator) -> Tensor:
        return torch.rand(self._batch, generator=generator).to(self._device)

    def _rows(self, generator: torch.Generator) -> Rows:
        shard = self._shards[int(torch.randint(len(self._shards), (1,), generator=generator))]
        picked = torch.randint(len(shard.latents), (self._batch,), generator=generator).to(self._device)
        return Rows(
            image=layout.pack(shard.latents[picked].float()),
            control=layout.pack(shard.control[picked].float()),
            weights=shard.weights[picked].float(),
            clip_ids=shard.clip_ids[picked].long(),
            t5_ids=shard.t5_ids[picked].long(),
            side=shard.latents.shape[-1],
        )


def velocity(
    networks: dict[str, Any],
    hidden: Tensor,
    sigma: Tensor,
    guidance: Tensor,
    control: Tensor,
    follows: Tensor,
    ids: tuple[Tensor, Tensor],
    side: int,
) -> Tensor:
    """Return the velocity of every row, (b, n, 4c) in fp32, computed in bf16.

    follows: (b,), 1 for the rows that follow their control, 0 for those that get no residuals; in between, or more.
    """
    kernel = SDPBackend.MATH if hidden.device.type == "cpu" else SDPBackend.FLASH_ATTENTION
    with torch.autocast(hidden.device.type, torch.bfloat16), sdpa_kernel([kernel, SDPBackend.MATH]), _no_mismatch():
        pooled = networks["text_encoder"](ids[0]).pooler_output
        embeds = networks["text_encoder_2"](ids[1])[0]
        shared = {
            "timestep": sigma,
            "guidance": guidance,
            "pooled_projections": pooled,
            "encoder_hidden_states": embeds,
            "txt_ids": torch.zeros(embeds.shape[1], 3, device=hidden.device),
            "img_ids": layout.image_ids(side, side).to(hidden.device),
            "return_dict": False,
        }
        double, single = networks["controlnet"](
            hidden_states=hidden, controlnet_cond=control, conditioning_scale=follows[:, None, None], **shared
        )
        drawn: Tensor = networks["transformer"](
            hidden_states=hidden, controlnet_block_samples=double, controlnet_single_block_samples=single, **shared
        )[0]
    return drawn.float()


@contextmanager
def _no_mismatch() -> Iterator[None]:
    # torch says that a norm's fp32 weights keep it from its fused kernel; that is meant.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight", category=UserWarning)
        yield


@torch.no_grad()
def draw(
    networks: dict[str, Any],
    control: Tensor,
    captions: Sequence[str],
    words: Words,
    *,
    sigmas: Sequence[float],
    follows: bool = True,
    seed: int = 0,
    guidance: float = 3.5,
) -> Tensor:
    """Draw latents (n, c, h, w), standardised, by Euler steps from the engine's own starting noise."""
    count, channels, side, _ = control.shape
    device = device_of(networks["transformer"])
    latents = torch.stack([layout.starting_noise(seed + row, channels, side, side) for row in range(count)]).to(device)
    packed = layout.pack(control.float()).to(device)
    clip_ids, t5_ids = (tensor.to(device) for tensor in words(captions))
    followed = torch.full((count,), CONTROL_GAIN * follows, device=device)
    for now, then in pairwise(sigmas):
        sigma, guided = torch.full_like(followed, now), torch.full_like(followed, guidance)
        moved = velocity(networks, latents, sigma, guided, packed, followed, (clip_ids, t5_ids), side)
        latents = latents + (then - now) * moved
    return layout.unpack(latents, side, side).cpu()
