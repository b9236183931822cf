"""Compiled blocks: the repeated blocks of transformer and ControlNet, each compiled by torch, everything else as it is.

Blocks of one kind share their code, so what is compiled is one double and one single block for each shape they meet:
a number of rows and of tokens. A shape takes seconds to tens of seconds the first time on a machine, less with what an
earlier process left in the folder of `keep_compiled_in`; so the rows of a forward are split into a few warm numbers
(`batch_choice.warm_parts`), and shapes are met while warming up, where that is known.

Code is compiled for the networks as they are loaded. Whatever changes them is drawn without it: a precise picture,
whose weights are of another width, and LoRAs, which put layers into blocks. Outside `run` nothing is compiled.

Nothing that goes wrong in it fails a picture: the forward is done once more without, and it stays switched off.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch._dynamo
from torch import Tensor, nn

from models.batch_choice import warm_parts
from models.components import FluxComponents
from models.devices import keep_compiled_in, tells_of_memory
from models.memory_plan import Offload, Plan, WeightPrecision
from models.switches import Compiling

log = logging.getLogger(__name__)

COMPILED = "compiled"
"""The name, beside the profiles' folders, of the one where compiled code is kept."""
MOST_SHAPES = 512
"""Shapes that torch keeps code for; its own limit is 8, beyond which it would fail."""

Result = TypeVar("Result")


class CompiledBlocks:
    """The compiled code of some networks; none for no networks. For the thread that steps, but all may ask.

    failure: why compiled code is not used any more; None: it is. met: seconds of the first forward of each shape.
    """

    def __init__(self, networks: Sequence[nn.Module] = (), *, backend: str = "inductor") -> None:
        self.failure: str | None = None
        self.met: dict[Hashable, float] = {}
        self._are_wanted = True
        self._blocks: dict[nn.Module, list[Any]] = {network: _blocks(network) for network in networks}
        self._code: dict[nn.Module, list[Any]] = {}
        if networks:
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_SHAPES)
            torch._dynamo.config.accumulated_recompile_limit = max(
                torch._dynamo.config.accumulated_recompile_limit, 4 * MOST_SHAPES
            )
        for network, blocks in self._blocks.items():
            # Loading a LoRA would do it later, and code is compiled for tensors as they are.
            network.requires_grad_(requires_grad=False)
            self._code[network] = [_compiled(block, backend) for block in blocks]

    @property
    def are_there(self) -> bool:
        """Whether any network is computed with compiled code, when nothing speaks against it."""
        return bool(self._blocks) and self.failure is None

    @property
    def are_used(self) -> bool:
        """Whether the forwards to come are computed with it."""
        return self.are_there and self._are_wanted

    def use(self, *, wanted: bool) -> None:
        """Say whether the networks are as they were loaded in the forwards to come."""
        self._are_wanted = wanted

    def parts(self, rows: int) -> tuple[int, ...]:
        """Return how many rows each forward has that together are one of `rows`."""
        return warm_parts(rows) if self.are_used else (rows,)

    def has_met(self, network: nn.Module, shape: Hashable) -> bool:
        """Tell whether a forward of a shape needs nothing that was not compiled before in this process."""
        return not self.are_used or network not in self._blocks or (network, shape) in self.met

    def run(self, network: nn.Module, shape: Hashable, forward: Callable[[], Result]) -> Result:
        """Return what `forward` does, which runs `network` once on rows of a shape, with compiled code if it is used.

        Raises what torch raises for lack of memory and for a broken card, and what the network raises without it.
        """
        if not self.are_used or network not in self._blocks:
            return forward()
        began = time.perf_counter()
        try:
            with self._in_force(network):
                result = forward()
        except Exception as e:
            if isinstance(e, torch.AcceleratorError):
                raise
            is_memory, reason = tells_of_memory(e), _reason(e)
            e.__traceback__ = None  # it holds every tensor of the failed forward
        else:
            self.met.setdefault((network, shape), time.perf_counter() - began)
            return result
        if is_memory:
            raise torch.OutOfMemoryError(reason)  # and not whatever the compiler made of it
        result = forward()
        self.failure = reason  # not before: what also fails without compiled code is not its fault
        log.warning("Blocks are not compiled from now on, which is slower and draws the same pictures: %s", reason)
        return result

    @contextmanager
    def _in_force(self, network: nn.Module) -> Iterator[None]:
        blocks = self._blocks[network]
        for block, code in zip(blocks, self._code[network], strict=True):
            block._compiled_call_impl = code
        try:
            yield
        finally:
            for block in blocks:
                block._compiled_call_impl = None


def compile_blocks(parts: FluxComponents, asked: Compiling, plan: Plan | None, folder: Path) -> CompiledBlocks:
    """Have the blocks of both networks compiled, as far as that was asked for; nothing is compiled before it is run.

    folder: where compiled code is kept for processes to come.
    """
    if asked is Compiling.OFF or (plan is not None and plan.offload is not Offload.NONE):
        return CompiledBlocks()  # streamed blocks wait for the bus, and each part of a forward would stream them again
    is_small = plan is not None and WeightPrecision.NF4 in (plan.precision, plan.controlnet_precision)
    if asked is Compiling.AUTO and (parts.device.type != "cuda" or is_small):
        return CompiledBlocks()
    keep_compiled_in(folder)
    return CompiledBlocks((parts.transformer, parts.controlnet))


def _blocks(network: Any) -> list[Any]:
    """List the repeated blocks of FluxTransformer2DModel and of FluxControlNetModel, which names none itself."""
    return [*network.transformer_blocks, *network.single_transformer_blocks]


def _compiled(block: Any, backend: str) -> Any:
    # A single block returns two slices of one tensor: the next block would have to be compiled for slices, too.
    block.register_forward_hook(_dense)
    block.compile(backend=backend, fullgraph=True, dynamic=False)
    code, block._compiled_call_impl = block._compiled_call_impl, None
    return code


def _dense(_block: nn.Module, _arguments: object, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # By way of one dimension: a slice of a single row counts as contiguous already, with the strides of the whole.
    return tuple(output.flatten().view(output.shape) for output in outputs)


def _reason(error: BaseException) -> str:
    """Say in one line what a compiler's error, which may have hundreds, is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Set TORCH")]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300] or 'no reason given'}"
