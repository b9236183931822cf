"""Nothing that would make the host wait for a card is done in a step, seen on the CPU by the operations that are run.

`tests/gpu` asks torch's own detector on a card; here every operation that hands a number back to Python is counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.inflight import InflightEngine
from models.requests import PictureRequest
from models.velocity_cache import CacheMode

WAITING = {
    "aten._local_scalar_dense.default",  # .item(), float(tensor), `if tensor:`
    "aten.is_nonzero.default",
    "aten.equal.default",
    "aten.nonzero.default",  # its result's shape is a number, as those of the others are
    "aten.masked_select.default",
    "aten._unique2.default",
    "aten.unique_dim.default",
    "aten.repeat_interleave.Tensor",
}


class Watching(TorchDispatchMode):
    """Notes each operation of WAITING."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        if str(func) in WAITING or (func is torch.ops.aten.index.Tensor and any(map(_is_mask, args[1]))):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def _is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype is torch.bool


@contextmanager
def watching() -> Iterator[Watching]:
    with Watching() as mode:
        yield mode


@pytest.mark.parametrize(
    "wait",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: torch.equal(tensor, tensor),
        lambda tensor: tensor.nonzero(),
        lambda tensor: tensor.repeat_interleave(tensor.long()),
    ],
)
def test_the_watch_sees_what_waits(wait: Any) -> None:
    with watching() as mode:
        wait(torch.ones(4))
    assert mode.seen


@pytest.mark.parametrize("cache", [CacheMode.OFF, CacheMode.FAST])
def test_a_step_hands_no_number_back_to_python(tiny_engine: InflightEngine, ask: Any, pose: Any, cache: Any) -> None:
    engine = InflightEngine(tiny_engine.runner, 4, cache=cache)
    requests: list[PictureRequest] = [
        ask("a", control=pose((128, 128), 0.5), steps=12, control_end=0.5),
        ask("b", steps=11, guidance=2.0, seed=3),
    ]
    for request in requests:
        engine.submit(request)
    stages: list[str] = []
    for _ in range(16):
        with watching() as mode:
            stages.append(engine.step().stage)
        if stages[-1] == "step":
            assert mode.operations > 0
            assert mode.seen == []
    assert stages.count("step") >= 6
    assert "decode" in stages
