"""Measures what customers wait when orders come as they like: in-flight batching against three usual ways.

    python scripts/bench_arrivals.py [--json] [--engine simulated|tiny] [--size 1024|512] [--loads 0.5,0.8,0.95]
                                     [--orders 200] [--batch 4] [--steps 28] [--seed 1]

Orders of 1 to 12 pictures come at random (Poisson, open loop: nobody waits for an answer before the next one orders),
the very same ones for every way:

    in_flight       ours: whoever comes joins the next forward, at whatever step the others are
    whatever_waits  when the engine is free it takes what waits, up to a batch, and lets nobody in until all are done
    full_batches    the same, but it waits for a full batch, for as long as one picture takes at most
    one_by_one      no batching

A load is a share of what our engine draws with a full queue, measured first. The clock counts only what the engine
computes and jumps over the time in which nothing is there to draw. `tiny` is the real engine with small networks on
the CPU, whose clock is the processor's own: other processes on the machine do not count. `simulated` takes its seconds
from a model of a card: so much a forward, so much a row, so much more a row with control. Told are pictures per second
from the first order to the last picture, and seconds from an order to its first and last picture.
"""

import argparse
import json
import math
import random
import statistics
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_engine import requests

from models.arrival import Decoded
from models.fake import FakeEngine
from models.profiles import FLUX1_DEV, Profile
from models.requests import Failed, Finished, PictureRequest, StepReport
from models.sample import Sample
from models.stepping import SteppedEngine

ORDER_PICTURES = {1: 40, 2: 20, 4: 25, 8: 10, 12: 5}
"""How many orders of a hundred have so many pictures."""
PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of a card: of a forward, of each of its rows, and of each row that follows a control."""

    forward_s: float
    row_s: float
    control_s: float


COSTS = {
    # One H100 compiled at 1024x1024: 4.21, 3.99 and 3.96 s a picture at batches of 1, 4 and 8 (published figures).
    "1024": Cost(forward_s=0.0103, row_s=0.140, control_s=0.0156),
    # Rows cost by their FLOPs (21.5 of 74.4 TFLOP); the rest of a forward so that batches of 8 gain 2.5 times.
    "512": Cost(forward_s=0.088, row_s=0.0405, control_s=0.0045),
}


class SimulatedEngine(FakeEngine):
    """The fake engine, whose forwards take what a card would; `taken_s` is how long it computed."""

    def __init__(self, profile: Profile, max_batch: int, cost: Cost) -> None:
        super().__init__(profile, max_batch)
        self.cost = cost
        self.taken_s = 0.0

    def forward(self, rows: Sequence[Sample]) -> None:
        """Take the seconds of these rows."""
        following = sum(row.wants_control() for row in rows)
        self.taken_s += self.cost.forward_s + len(rows) * self.cost.row_s + following * self.cost.control_s
        super().forward(rows)

    def decode(self, samples: Sequence[Sample]) -> Decoded:
        """Draw a dot: nobody looks at these pictures."""
        dots = np.full((len(samples), 1, 1, 3), 0.5, dtype=np.float32)
        return Decoded(pixels=dots, brightest=dots.max(axis=(1, 2, 3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Pictures that were asked for at one moment."""

    at_s: float
    pictures: tuple[PictureRequest, ...]


class Way(ABC):
    """When waiting pictures are given to an engine."""

    def __init__(self, engine: SteppedEngine, batch: int) -> None:
        self.engine = engine
        self.batch = batch
        self.waiting: deque[tuple[float, PictureRequest]] = deque()

    @abstractmethod
    def give(self, now_s: float, *, is_last: bool) -> float:
        """Give the engine what is its turn; return when to ask again if nothing else happens, inf for never.

        is_last: no order comes any more.
        """

    def _submit(self, pictures: int) -> None:
        for _ in range(min(pictures, len(self.waiting))):
            self.engine.submit(self.waiting.popleft()[1])


class AtOnce(Way):
    """Everything at once: the engine itself decides, at each step."""

    def give(self, now_s: float, *, is_last: bool) -> float:
        """Give all."""
        self._submit(len(self.waiting))
        return math.inf


class InBatches(Way):
    """A batch when the engine is free, and nobody in between; waits for a full one for `patience_s`."""

    def __init__(self, engine: SteppedEngine, batch: int, patience_s: float = 0.0) -> None:
        super().__init__(engine, batch)
        self.patience_s = patience_s

    def give(self, now_s: float, *, is_last: bool) -> float:
        """Give a batch if it is full or was waited for long enough."""
        if self.engine.has_work() or not self.waiting:
            return math.inf
        until_s = self.waiting[0][0] + self.patience_s
        if len(self.waiting) >= self.batch or is_last or now_s >= until_s:
            self._submit(self.batch)
            return math.inf
        return until_s


@dataclass(slots=True, kw_only=True)
class Bench:
    """Makes fresh engines and says what one step of them took."""

    make: Callable[[int], SteppedEngine]
    pictures: Sequence[PictureRequest]
    batch: int
    steps: int

    def ways(self, alone_s: float) -> dict[str, Way]:
        """Every way with an engine of its own; alone_s: what a picture takes alone."""
        return {
            "in_flight": AtOnce(self.make(self.batch), self.batch),
            "whatever_waits": InBatches(self.make(self.batch), self.batch),
            "full_batches": InBatches(self.make(self.batch), self.batch, patience_s=alone_s),
            "one_by_one": AtOnce(self.make(1), 1),
        }

    def full_queue(self, batch: int, pictures: int) -> float:
        """Pictures per second with a full queue."""
        order = Order(at_s=0.0, pictures=tuple(self.pictures[at % len(self.pictures)] for at in range(pictures)))
        return serve([_named(order, "full")], AtOnce(self.make(batch), batch))["pictures_per_s"]

    def orders(self, count: int, per_s: float, seed: int) -> list[Order]:
        """Orders as they come at random, so that `per_s` pictures come each second on average."""
        chance = random.Random(seed)
        mean = sum(size * weight for size, weight in ORDER_PICTURES.items()) / sum(ORDER_PICTURES.values())
        at_s, orders = 0.0, []
        for number in range(count):
            at_s += chance.expovariate(per_s / mean)
            (size,) = chance.choices(list(ORDER_PICTURES), weights=list(ORDER_PICTURES.values()))
            drawn = tuple(chance.choice(self.pictures) for _ in range(size))
            orders.append(_named(Order(at_s=at_s, pictures=drawn), str(number)))
        return orders


def serve(orders: Sequence[Order], way: Way) -> dict[str, float]:
    """Let the orders come and be drawn; return the figures that the module tells."""
    coming = deque(orders)
    order_of = {picture.key: order for order in orders for picture in order.pictures}
    missing = {order.at_s: len(order.pictures) for order in orders}
    first_s: list[float] = []
    last_s: list[float] = []
    now_s = busy_s = 0.0
    while coming or way.waiting or way.engine.has_work():
        while coming and coming[0].at_s <= now_s:
            order = coming.popleft()
            way.waiting.extend((order.at_s, picture) for picture in order.pictures)
        ask_again_s = way.give(now_s, is_last=not coming)
        if not way.engine.has_work():
            now_s = min(ask_again_s, coming[0].at_s if coming else math.inf)
            continue
        report, took_s = _timed(way.engine)
        now_s += took_s
        busy_s += took_s
        for outcome in report.outcomes:
            assert isinstance(outcome, Finished), outcome.error if isinstance(outcome, Failed) else outcome
            order = order_of.pop(outcome.key)
            if missing[order.at_s] == len(order.pictures):
                first_s.append(now_s - order.at_s)
            missing[order.at_s] -= 1
            if not missing[order.at_s]:
                last_s.append(now_s - order.at_s)
    assert not order_of, "every picture is drawn once"
    pictures = sum(len(order.pictures) for order in orders)
    told = {"pictures_per_s": pictures / (now_s - orders[0].at_s), "busy": busy_s / (now_s - orders[0].at_s)}
    for name, waits in (("first", first_s), ("last", last_s)):
        told |= {f"{name}_p{percent}_s": percentile(waits, percent) for percent in PERCENTS}
    return told


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of them do not exceed."""
    in_order = sorted(values)
    return in_order[max(0, math.ceil(len(in_order) * percent / 100) - 1)]


def main() -> None:
    """Measure and print."""
    asked = _parse()
    bench, told = _bench(asked)
    capacity = bench.full_queue(asked.batch, 4 * asked.batch)
    alone = bench.full_queue(1, 2)
    told |= {"in_flight_full_queue_per_s": capacity, "one_by_one_full_queue_per_s": alone}
    told["loads"] = {}
    for load in asked.loads:
        orders = bench.orders(asked.orders, load * capacity, asked.seed)
        told["loads"][str(load)] = {name: serve(orders, way) for name, way in bench.ways(1 / alone).items()}
    if asked.json:
        print(json.dumps(told, indent=2))
    else:
        _show(told)


def _bench(asked: argparse.Namespace) -> tuple[Bench, dict[str, Any]]:
    told: dict[str, Any] = {"engine": asked.engine, "batch": asked.batch, "steps": asked.steps, "orders": asked.orders}
    if asked.engine == "simulated":
        cost = COSTS[asked.size]
        side = int(asked.size)
        small = [
            replace(request, control=None if request.control is None else request.control.resize((side, side)))
            for request in requests(FLUX1_DEV, 1, asked.steps)
        ]
        pictures = [replace(request, width=side, height=side) for request in small]
        told |= {"size": asked.size, "cost": {name: getattr(cost, name) for name in cost.__dataclass_fields__}}
        return (
            Bench(
                make=lambda batch: SimulatedEngine(FLUX1_DEV, batch, cost),
                pictures=pictures,
                batch=asked.batch,
                steps=asked.steps,
            ),
            told,
        )
    from models.inflight import InflightEngine
    from models.loading import load_engine

    loaded = load_engine("tiny", "cpu", cache_dir=asked.models_dir)
    loaded.warm_up()
    return (
        Bench(
            make=lambda batch: InflightEngine(loaded.runner, batch),
            pictures=requests(loaded.profile, 16, asked.steps),
            batch=asked.batch,
            steps=asked.steps,
        ),
        told,
    )


def _timed(engine: SteppedEngine) -> tuple[StepReport, float]:
    if isinstance(engine, SimulatedEngine):
        before_s = engine.taken_s
        return engine.step(), engine.taken_s - before_s
    started_s = time.process_time()
    return engine.step(), time.process_time() - started_s


def _named(order: Order, name: str) -> Order:
    named = (replace(picture, key=f"{name}-{at}") for at, picture in enumerate(order.pictures))
    return replace(order, pictures=tuple(named))


def _show(told: dict[str, Any]) -> None:
    alone = told["in_flight_full_queue_per_s"] / told["one_by_one_full_queue_per_s"]
    print(f"A full queue: {told['in_flight_full_queue_per_s']:.3f} pictures/s in flight, {alone:.2f} times one by one.")
    for load, ways in told["loads"].items():
        print(f"\nload {load}        pictures/s  busy    first p50 / p95 / p99 s          last p50 / p95 / p99 s")
        for name, figures in ways.items():
            waits = "   ".join(
                " / ".join(f"{figures[f'{which}_p{percent}_s']:8.2f}" for percent in PERCENTS)
                for which in ("first", "last")
            )
            print(f"  {name:15} {figures['pictures_per_s']:8.3f}   {figures['busy']:4.2f}   {waits}")
        median = statistics.median(figures["last_p50_s"] for name, figures in ways.items() if name != "in_flight")
        print(
            f"  the others' median wait for the last picture: {median / ways['in_flight']['last_p50_s']:.2f} times ours"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what customers wait when orders come at random.")
    parser.add_argument("--engine", choices=("simulated", "tiny"), default="simulated")
    parser.add_argument("--size", choices=tuple(COSTS), default="1024", help="which card is simulated")
    parser.add_argument("--loads", default="0.5,0.8,0.95", type=lambda text: [float(load) for load in text.split(",")])
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
