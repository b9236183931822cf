"""From a checked checkpoint to a network in memory, for files that the libraries' `from_pretrained` does not find.

That is a single safetensors file of any name, in diffusers' own names or, for the transformer, in Black Forest Labs'.
Everything comes from the folder: no configuration is fetched. Each tensor is held once.
"""

from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from models.bfl_layout import SWAPPED, bfl_layout
from models.checkpoints import Checkpoint, plain_names


def read_network(kind: Any, checkpoint: Checkpoint, *, dtype: torch.dtype) -> nn.Module:
    """Build a network of diffusers' class `kind` and fill it from a checkpoint that passed its checks.

    The network is on the CPU, in `dtype` and in eval mode.
    """
    with torch.device("meta"):
        network: nn.Module = kind.from_config(dict(checkpoint.config))
    network.load_state_dict(dict(_tensors(checkpoint, dtype)), assign=True)
    return network.eval()


def _tensors(checkpoint: Checkpoint, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    shapes = checkpoint.part.shapes(checkpoint.config)
    layout = bfl_layout(checkpoint.config) if checkpoint.is_bfl else {name: (name,) for name in shapes}
    for path, header in checkpoint.files.items():
        with safe_open(path, framework="pt", device="cpu") as file:
            for theirs, name in plain_names(checkpoint.part, header).items():
                stored: Tensor = file.get_tensor(name).to(dtype)
                if theirs.startswith(SWAPPED):
                    stored = torch.cat(stored.chunk(2)[::-1])
                ours = layout[theirs]
                pieces = torch.split(stored, [shapes[piece][0] for piece in ours])
                # Each in memory of its own, so that no piece keeps the whole stack alive.
                yield from zip(ours, (piece.clone() for piece in pieces) if len(ours) > 1 else pieces, strict=True)
