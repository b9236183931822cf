"""The ways of `bench_gpu.py`, each over networks of its own that are made when it is first asked for.

diffusers' own ways share their networks with `ours`, so nothing but the loop differs. Whatever is compiled or changed
is a copy over the same tensors. Compiled is regionally: the blocks, which are all alike, not the whole.
"""

from functools import cache
from typing import Any

import torch
from gpu_cells import CACHES, STOCK, Way, timed_steps
from gpu_networks import copied, quantised, tabled, weight_bytes
from gpu_timing import Stock, Visit, measured, visit_ours
from gpu_work import Size

from models.components import FluxComponents
from models.inflight import InflightEngine
from models.memory_plan import WeightPrecision
from models.runner import FluxRunner
from models.velocity_cache import CacheMode

MOST_COMPILED = 1024
"""Of one kind of block: sizes, batches and kinds of weights each need one of their own."""


class Ways:
    """Draws a few steps in any way. compiles: whether ways that a card would run compiled are compiled."""

    def __init__(self, runner: FluxRunner, *, compiles: bool) -> None:
        self._plain = runner
        self.compiles = compiles
        self._runner_of = cache(self._make_runner)

    def known(self) -> tuple[Way, ...]:
        """Return the ways that can be measured, in the order they are told."""
        needing = () if self.compiles else (Way.STOCK_COMPILED, Way.OURS_COMPILED)
        return tuple(way for way in Way if way not in needing)

    def visit(self, way: Way, size: Size, pictures: int, repeats: int) -> Visit:
        """Draw and time as many steps as a visit of this way takes. Raises CellFailed, LibraryMissing."""
        runner = self.runner(way)
        with_control, without = timed_steps(way, repeats)
        if way in STOCK:
            together = 1 if way is Way.STOCK_SINGLE else pictures
            stock = Stock(self._plain, runner.parts.transformer, runner.parts.controlnet)
            return measured(runner.device, lambda: stock.visit(size, together, with_control))
        return measured(
            runner.device, lambda: visit_ours(self.engine(way, pictures), size, pictures, (with_control, without))
        )

    def warm(self, way: Way, size: Size, pictures: int) -> None:
        """Draw a step with control and one without, so that everything is loaded and compiled. Raises as `visit`."""
        runner = self.runner(way)
        if way in STOCK:
            stock = Stock(self._plain, runner.parts.transformer, runner.parts.controlnet)
            measured(runner.device, lambda: stock.visit(size, 1 if way is Way.STOCK_SINGLE else pictures, 1))
        else:
            measured(runner.device, lambda: visit_ours(InflightEngine(runner, pictures), size, pictures, (1, 1)))

    def engine(self, way: Way, rows: int) -> InflightEngine:
        """Make a fresh engine of so many rows. Raises LibraryMissing."""
        return InflightEngine(self.runner(way), rows, cache=CACHES.get(way, CacheMode.OFF))

    def runner(self, way: Way) -> FluxRunner:
        """Return the networks that a way draws with. Raises LibraryMissing."""
        match way:
            case Way.STOCK_SINGLE | Way.STOCK_BATCHED | Way.OURS:
                return self._plain
            case Way.OURS_SAFE | Way.OURS_FAST:
                return self._runner_of(Way.OURS_COMPILED)
            case Way.OURS_FP8_FAST:
                return self._runner_of(Way.OURS_FP8)
        return self._runner_of(way)

    def weight_bytes(self, way: Way) -> int:
        """Bytes of the weights that a way draws with."""
        return weight_bytes(self.runner(way).parts)

    def _make_runner(self, way: Way) -> FluxRunner:
        parts = self._plain.parts
        if way is Way.OURS_TABLES:
            parts = tabled(parts)
        elif way is Way.OURS_FP8:
            parts = quantised(parts, WeightPrecision.FP8)
        elif self.compiles:
            parts = copied(parts)
        if self.compiles:
            compile_blocks(parts)
        return type(self._plain)(self._plain.profile, parts)


def compile_blocks(parts: FluxComponents) -> None:
    """Let the blocks of both networks be compiled in their next forwards, for each size and batch anew."""
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = MOST_COMPILED
    networks: tuple[Any, ...] = (parts.transformer, parts.controlnet)
    for network in networks:
        for block in (*network.transformer_blocks, *network.single_transformer_blocks):
            block.compile(fullgraph=True, dynamic=False)
