"""Which code works out the attention: the fastest that is installed and gives right numbers on this device.

diffusers dispatches its attention by name; here a name is chosen once, tried on a small example, and set for both
networks. Its names that fetch a kernel from the hub are not among the choices: nothing is downloaded while drawing.
What is fast takes 16-bit numbers only, so a picture that is drawn once more in high precision gets torch's own.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName as Backend
from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn
from torch import Tensor, nn

from models.components import FluxComponents
from models.errors import AttentionMissing
from models.switches import AttentionKind

_BACKENDS = {
    AttentionKind.NATIVE: Backend.NATIVE,
    AttentionKind.CUDNN: Backend._NATIVE_CUDNN,
    AttentionKind.FLASH: Backend.FLASH,
    AttentionKind.FLASH3: Backend._FLASH_3,
}
_HOPPER = 9
_EXAMPLE = (2, 96, 4)
"""Rows, tokens and heads of what a kind is tried on."""
_MOST_DIFFERENCE = 0.05
"""Of numbers around 1 in bf16, whose own steps are 0.008 there; a wrong layout or scale differs by whole units."""


class Attention:
    """The attention of both networks: `kind` for pictures, torch's own for the precise ones."""

    def __init__(self, networks: Sequence[nn.Module], kind: AttentionKind) -> None:
        self.kind = kind
        self._networks: Sequence[Any] = networks
        self._set: AttentionKind | None = None
        self.use(precise=False)

    def use(self, *, precise: bool) -> None:
        """Set it for the forwards to come."""
        wanted = AttentionKind.NATIVE if precise else self.kind
        if wanted is self._set:
            return
        with _quiet_about_it():
            for network in self._networks:
                network.set_attention_backend(_BACKENDS[wanted].value)
        self._set = wanted


def attention_for(parts: FluxComponents, asked: AttentionKind) -> Attention:
    """Choose and set the attention of both networks. Raises AttentionMissing."""
    transformer: Any = parts.transformer
    kind = choose_attention(asked, parts.device, parts.dtype, transformer.config.attention_head_dim)
    return Attention((parts.transformer, parts.controlnet), kind)


def choose_attention(asked: AttentionKind, device: torch.device, dtype: torch.dtype, head_width: int) -> AttentionKind:
    """Return what to use: what was asked for, or of what there is the fastest by reputation.

    dtype: of the networks; head_width: numbers a head. Raises AttentionMissing for a kind that does not work here.
    """
    if asked is not AttentionKind.AUTO:
        fault = _fault(asked, device, dtype, head_width)
        if fault is not None:
            raise AttentionMissing(asked.value, fault)
        return asked
    works = (kind for kind in _candidates(device) if _fault(kind, device, dtype, head_width) is None)
    return next(works, AttentionKind.NATIVE)


def _candidates(device: torch.device) -> Iterator[AttentionKind]:
    """Go through what may be faster than torch's own choice, the fastest first."""
    if device.type != "cuda":
        return
    generation = torch.cuda.get_device_capability(device)[0]
    if generation == _HOPPER:
        yield AttentionKind.FLASH3
    if generation >= _HOPPER:  # before it, torch's own choice is FlashAttention-2, and cuDNN's is no faster
        yield AttentionKind.CUDNN


def _fault(kind: AttentionKind, device: torch.device, dtype: torch.dtype, head_width: int) -> str | None:
    """Try a kind on a small example; returns why it is of no use here."""
    if kind is AttentionKind.NATIVE:
        return None
    if device.type != "cuda":
        return f"it is for CUDA cards, and this is the {device.type.upper()}"
    generator = torch.Generator().manual_seed(0)
    shape = (*_EXAMPLE, head_width)
    query, key, value = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
    try:
        found = _attended(kind, query, key, value)
    except torch.AcceleratorError:
        raise
    except Exception as e:  # whatever a library of another build raises, there is always torch's own
        return (str(e) or type(e).__name__).splitlines()[0]
    difference = (found - _attended(AttentionKind.NATIVE, query, key, value)).abs().max().item()
    return None if difference < _MOST_DIFFERENCE else f"it is off by {difference:.2g}"


@torch.inference_mode()
def _attended(kind: AttentionKind, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with attention_backend(_BACKENDS[kind]):  # says what is missing, where dispatch_attention_fn would call None
        result: Tensor = dispatch_attention_fn(query, key, value)
    return result.float()


@contextmanager
def _quiet_about_it() -> Iterator[None]:
    """Keep diffusers from calling its own API experimental at every choice."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
