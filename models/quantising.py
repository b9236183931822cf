"""Weights of fewer bits, for who asks for them: they save memory or time, and they change pictures.

What is quantised is the weight matrices of the blocks' linear layers. The modulation is not: it is a few rows of work,
and an error in it reaches every token. Nor is anything outside the blocks. The libraries that do it are extras, each
imported only when its precision is asked for:

    fp8    torchao, 8-bit floats with a scale a row. Where the card multiplies them (compute capability 8.9 and newer)
           activations are quantised too, row by row; elsewhere weights only, which saves memory and no time.
    int8   torchao, 8-bit integers with a scale a row, activations quantised row by row.
    nf4    bitsandbytes, 4-bit normal floats in blocks of 64 whose scales are 8-bit themselves; computes in bf16.

fp8 and int8 gain speed only in compiled blocks. torchao would also set the compiler's options for the whole process;
that is not its to decide.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from models.errors import LibraryMissing
from models.memory_plan import WeightPrecision

_BLOCK_WEIGHT = re.compile(r"(single_)?transformer_blocks\.\d+\.(?!norm1?(_context)?\.linear$)")
_MULTIPLIES_FP8 = (8, 9)
_ALMOST_ZERO = 1e-20
"""torchao's scale of a row is its largest number / 448, and a row of zeros becomes 0 / 0: so no row is all zeros."""


def quantise(network: nn.Module, precision: WeightPrecision, device: torch.device) -> nn.Module:
    """Move a network to the device with its blocks' weights in `precision`, one layer at a time; returns it.

    So a card never holds more than the result and one layer as it was. Raises LibraryMissing, and what torch raises for
    lack of memory.
    """
    match precision:
        case WeightPrecision.BF16:
            pass
        case WeightPrecision.FP8 | WeightPrecision.INT8:
            _with_torchao(network, precision, device)
        case WeightPrecision.NF4:
            _with_bitsandbytes(network, device)
    return network.to(device)


def _with_torchao(network: nn.Module, precision: WeightPrecision, device: torch.device) -> None:
    try:
        from torchao import quantization
    except (ImportError, OSError) as e:
        raise LibraryMissing("torchao", f"--precision {precision.value}", str(e)) from e
    config: Any
    if precision is WeightPrecision.INT8:
        config = quantization.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    elif device.type == "cuda" and torch.cuda.get_device_capability(device) >= _MULTIPLIES_FP8:
        config = quantization.Float8DynamicActivationFloat8WeightConfig(
            granularity=quantization.PerRow(), activation_value_lb=_ALMOST_ZERO, set_inductor_config=False
        )
    else:
        config = quantization.Float8WeightOnlyConfig(set_inductor_config=False)
    chosen = set()
    for _, _, linear in block_linears(network):
        chosen.add(id(linear))
        if precision is WeightPrecision.FP8:
            _without_zero_rows(linear)
    quantization.quantize_(network, config, filter_fn=lambda module, _: id(module) in chosen, device=device)


def _without_zero_rows(linear: nn.Linear) -> None:
    is_zero = linear.weight.data.abs().amax(dim=1, keepdim=True) == 0
    if is_zero.any():
        linear.weight.data = linear.weight.data.masked_fill(is_zero, _ALMOST_ZERO)


def _with_bitsandbytes(network: nn.Module, device: torch.device) -> None:
    try:
        from bitsandbytes import nn as bnb
    except (ImportError, OSError) as e:
        raise LibraryMissing("bitsandbytes", "--precision nf4", str(e)) from e
    for parent, name, linear in list(block_linears(network)):
        smaller = bnb.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=linear.weight.dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        smaller.weight = bnb.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        smaller.bias = linear.bias
        setattr(parent, name, smaller.to(device).eval())  # the move is what quantises


def block_linears(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Go through the layers to quantise: whose they are, their name there, and they themselves."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and _BLOCK_WEIGHT.match(name):
            parent, _, own = name.rpartition(".")
            yield network.get_submodule(parent), own, module
