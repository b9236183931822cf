"""The meter says how fast a worker really is."""

from dataclasses import replace

import pytest

from gpu_worker.meter import Meter
from models.requests import StepReport


def forward(rows: int, *, steps: int = 8, compute_s: float = 0.5) -> StepReport:
    keyed = tuple((f"k{number}", 0, steps) for number in range(rows))
    return StepReport(outcomes=[], rows=keyed, compute_s=compute_s, step_no=1, stage="step")


def test_nothing_is_claimed_before_anything_was_measured() -> None:
    meter = Meter()

    assert meter.steps_per_s() is None
    assert meter.pictures_per_s() is None


def test_a_batch_counts_every_row() -> None:
    meter = Meter()
    for _ in range(8):
        meter.record(forward(4))

    assert meter.steps_per_s() == pytest.approx(8.0, rel=0.02)
    assert meter.pictures_per_s() == pytest.approx(1.0, rel=0.02)


def test_a_skipped_step_counts_as_a_step_of_its_picture() -> None:
    meter = Meter()
    for _ in range(4):
        meter.record(replace(forward(1), skipped=(("k0", 1, 8),)))

    assert meter.steps_per_s() == pytest.approx(4.0, rel=0.02)
    assert meter.pictures_per_s() == pytest.approx(0.5, rel=0.02)


def test_encoding_and_decoding_slow_the_pictures_down() -> None:
    meter = Meter()
    meter.record(forward(4, steps=1, compute_s=2.0))
    meter.record(StepReport(outcomes=[], rows=(), compute_s=2.0, step_no=1, stage="decode"))

    assert meter.pictures_per_s() == pytest.approx(1.0, rel=0.05)


def test_a_change_of_speed_shows_within_minutes() -> None:
    meter = Meter()
    for _ in range(100):
        meter.record(forward(1, steps=1, compute_s=1.0))
    for _ in range(600):
        meter.record(forward(1, steps=1, compute_s=0.5))

    assert meter.pictures_per_s() == pytest.approx(2.0, rel=0.15)


def test_the_busy_share_is_of_the_time_since_the_last_look() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    meter.record(forward(1, compute_s=2.0))
    now[0] = 4.0
    assert meter.take_busy_share() == pytest.approx(0.5)

    now[0] = 8.0
    assert meter.take_busy_share() == 0.0
