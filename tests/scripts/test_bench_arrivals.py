"""The measurement of waiting: the same orders for every way, all of them served, and waits that add up."""

import json
import math
import sys
from dataclasses import replace

import bench_arrivals
import pytest
from bench_arrivals import COSTS, AtOnce, Bench, InBatches, Order, SimulatedEngine, percentile, serve
from bench_engine import requests

from models.profiles import TINY

STEPS = 4
COST = COSTS["512"]
FORWARD_S = {rows: COST.forward_s + rows * COST.row_s for rows in (1, 2, 3, 4)}


@pytest.fixture
def bench() -> Bench:
    pictures = [replace(picture, control=None) for picture in requests(TINY, 4, STEPS)]
    return Bench(make=lambda batch: SimulatedEngine(TINY, batch, COST), pictures=pictures, batch=4, steps=STEPS)


def order(bench: Bench, name: str, at_s: float, pictures: int) -> Order:
    drawn = (replace(bench.pictures[0], key=f"{name}-{number}") for number in range(pictures))
    return Order(at_s=at_s, pictures=tuple(drawn))


def test_a_newcomer_joins_the_next_forward_and_does_not_wait_for_the_batch_to_end(bench: Bench) -> None:
    orders = [order(bench, "a", 0.0, 1), order(bench, "b", 0.001, 1)]

    joined = serve(orders, AtOnce(bench.make(4), 4))
    waited = serve(orders, InBatches(bench.make(4), 4))

    alone, both = FORWARD_S[1], FORWARD_S[2]
    assert joined["last_p99_s"] == pytest.approx(alone + 3 * both + alone - 0.001)
    assert waited["last_p99_s"] == pytest.approx(2 * STEPS * alone - 0.001)


def test_who_waits_for_a_full_batch_begins_when_it_is_full_or_patience_ends(bench: Bench) -> None:
    first, second, third = (order(bench, name, at_s, 2) for name, at_s in (("a", 0.0), ("b", 1.0), ("c", 100.0)))
    full = STEPS * FORWARD_S[4]

    patient = serve([first, second, third], InBatches(bench.make(4), 4, patience_s=50.0))
    hasty = serve([first, second, third], InBatches(bench.make(4), 4, patience_s=0.5))

    assert patient["first_p99_s"] == pytest.approx(1.0 + full), "a waits for b"
    assert hasty["first_p99_s"] == pytest.approx(max(0.5 + STEPS * FORWARD_S[2], 2 * STEPS * FORWARD_S[2] + 0.5 - 1.0))


def test_time_in_which_nothing_is_there_is_jumped_over_and_is_not_busy(bench: Bench) -> None:
    told = serve([order(bench, "a", 0.0, 1), order(bench, "b", 1000.0, 1)], AtOnce(bench.make(4), 4))

    drawing = STEPS * FORWARD_S[1]
    assert told["last_p99_s"] == pytest.approx(drawing)
    assert told["busy"] == pytest.approx(2 * drawing / (1000 + drawing))


def test_every_way_serves_the_same_orders_and_a_seed_repeats_them(bench: Bench) -> None:
    orders, again = (bench.orders(30, 1.0, seed=7) for _ in range(2))

    assert orders == again
    assert orders != bench.orders(30, 1.0, seed=8)
    told = {name: serve(orders, way) for name, way in bench.ways(STEPS * FORWARD_S[1]).items()}
    assert set(told) == {"in_flight", "whatever_waits", "full_batches", "one_by_one"}
    assert all(figures["first_p50_s"] <= figures["last_p50_s"] <= figures["last_p99_s"] for figures in told.values())


def test_a_lost_picture_does_not_go_unnoticed(bench: Bench) -> None:
    class Forgetful(AtOnce):
        def give(self, now_s: float, *, is_last: bool) -> float:
            if self.waiting:
                self.waiting.pop()
            return super().give(now_s, is_last=is_last)

    with pytest.raises(AssertionError, match="drawn once"):
        serve([order(bench, "a", 0.0, 2)], Forgetful(bench.make(4), 4))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0], percent) for percent in (50, 95, 99)] == [2.0, 3.0, 3.0]


def test_the_command_tells_every_way_at_every_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--json", "--size", "512", "--loads", "0.5,0.9", "--orders", "5", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["bench_arrivals.py", *asked])

    bench_arrivals.main()

    told = json.loads(capsys.readouterr().out)
    assert set(told["loads"]) == {"0.5", "0.9"}
    for ways in told["loads"].values():
        assert all(math.isfinite(value) for figures in ways.values() for value in figures.values())
