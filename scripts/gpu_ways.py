"""The ways of `bench_gpu.py`, each over networks of its own that are made when it is first asked for.

diffusers' own ways share their networks with `ours`, so nothing but the loop differs. Whatever is compiled or changed
is a copy over the same tensors. Compiled is regionally: the blocks, which are all alike, not the whole.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch._dynamo
from gpu_cells import CACHES, STOCK, Way, timed_steps
from gpu_networks import copied, quantised, tabled, weight_bytes
from gpu_timing import CellFailed, Stock, Visit, measured, visit_ours
from gpu_work import Size

from models.attention import attention_for
from models.compiling import COMPILED, MOST_SHAPES, compile_blocks
from models.components import FluxComponents
from models.inflight import InflightEngine
from models.memory_plan import WeightPrecision
from models.runner import FluxRunner
from models.switches import AttentionKind, Compiling
from models.velocity_cache import CacheMode


class Ways:
    """Draws a few steps in any way. compiles: whether ways that a card would run compiled are compiled.

    models_dir: where compiled code is kept, as a worker keeps it.
    """

    def __init__(self, runner: FluxRunner, *, compiles: bool, models_dir: Path) -> None:
        self._plain, self._models_dir = runner, models_dir
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
        return self._drawn(way, size, pictures, (with_control, without), CACHES.get(way, CacheMode.OFF))

    def warm(self, way: Way, size: Size, pictures: int) -> None:
        """Draw a step with control and one without, so that everything is loaded and compiled. Raises as `visit`."""
        runner = self.runner(way)
        if way in STOCK:
            stock = Stock(self._plain, runner.parts.transformer, runner.parts.controlnet)
            measured(runner.device, lambda: stock.visit(size, 1 if way is Way.STOCK_SINGLE else pictures, 1))
        else:
            self._drawn(way, size, pictures, (1, 1), CacheMode.OFF)

    def _drawn(self, way: Way, size: Size, pictures: int, timed: tuple[int, int], cache: CacheMode) -> Visit:
        runner = self.runner(way)
        engine = InflightEngine(runner, pictures, cache=cache)
        visit = measured(runner.device, lambda: visit_ours(engine, size, pictures, timed))
        if runner.blocks.failure is not None:  # a worker would draw on without; here it would be told as compiled
            raise CellFailed(f"compiling failed: {runner.blocks.failure}")
        return visit

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
        runner, profile = type(self._plain), self._plain.profile
        if way is Way.STOCK_COMPILED:
            compile_in_place(parts)
        elif self.compiles:
            attention = attention_for(parts, AttentionKind.AUTO)
            blocks = compile_blocks(parts, Compiling.ON, None, self._models_dir / COMPILED)
            return runner(profile, parts, attention=attention, blocks=blocks)
        return runner(profile, parts)


def compile_in_place(parts: FluxComponents) -> None:
    """Have the blocks of both networks compiled as diffusers recommends, for each size and batch anew."""
    networks: tuple[Any, ...] = (parts.transformer, parts.controlnet)
    for network in networks:
        for block in (*network.transformer_blocks, *network.single_transformer_blocks):
            block.compile(fullgraph=True, dynamic=False)
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_SHAPES)
    dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, 4 * MOST_SHAPES)
