"""Which steps run without networks, what moves the latents then, and that all counts stay right. Without torch."""

from typing import Any

import pytest

from models.errors import OutOfMemory
from models.fake import FakeEngine, FakeTrouble
from models.profiles import TINY
from models.requests import Failed, Finished, StepReport
from models.sample import Sample
from models.stepping import DoesNotFit
from models.velocity_cache import CacheMode, coast_weights, full_steps

LOSSY = (CacheMode.SAFE, CacheMode.FAST)


def test_off_skips_nothing() -> None:
    assert all(all(full_steps(CacheMode.OFF, steps, steps // 2)) for steps in range(1, 51))


@pytest.mark.parametrize("mode", LOSSY)
def test_the_first_six_and_the_last_two_steps_are_always_full(mode: CacheMode) -> None:
    for steps in range(1, 51):
        for control_steps in range(steps + 1):
            mask = full_steps(mode, steps, control_steps)
            assert len(mask) == steps
            assert all(mask[:6])
            assert all(mask[: steps // 5])
            assert all(mask[-2:])


@pytest.mark.parametrize("mode", LOSSY)
def test_short_schedules_are_full(mode: CacheMode) -> None:
    assert all(all(full_steps(mode, steps, steps)) for steps in range(1, 9))
    assert not all(full_steps(mode, 9, 9))


def test_of_28_steps_fast_keeps_at_least_16_and_safe_more() -> None:
    for control_steps in range(29):
        fast, safe = (sum(full_steps(mode, 28, control_steps)) for mode in (CacheMode.FAST, CacheMode.SAFE))
        assert 16 <= fast <= 18
        assert fast < safe < 28
    assert [sum(full_steps(mode, 28, 18)) for mode in (CacheMode.FAST, CacheMode.SAFE)] == [16, 22]


@pytest.mark.parametrize("mode", LOSSY)
def test_no_line_is_drawn_across_the_end_of_the_control(mode: CacheMode) -> None:
    """The last two full steps before any skipped one are on its side of the control's end."""
    for steps in range(9, 51):
        for control_steps in range(steps + 1):
            mask = full_steps(mode, steps, control_steps)
            for step in (step for step in range(steps) if not mask[step]):
                before = [known for known in range(step) if mask[known]][-2:]
                assert {known < control_steps for known in (*before, step)} == {step < control_steps}


@pytest.mark.parametrize("mode", LOSSY)
def test_no_more_than_two_steps_in_a_row_are_skipped(mode: CacheMode) -> None:
    most = {CacheMode.SAFE: 1, CacheMode.FAST: 2}[mode]
    for control_steps in range(29):
        letters = "".join("F" if full else "S" for full in full_steps(mode, 28, control_steps))
        assert "S" * (most + 1) not in letters


def test_a_velocity_on_a_line_is_continued_exactly() -> None:
    """v(s) = 3 + 5 s at uneven levels: what Euler's method would have done in both skipped steps."""
    sigmas = (0.9, 0.8, 0.62, 0.31, 0.1, 0.0)

    def velocity(sigma: float) -> float:
        return 3 + 5 * sigma

    stepped = sum((sigmas[step + 1] - sigmas[step]) * velocity(sigmas[step]) for step in (2, 3))
    a, b = coast_weights(sigmas, 2, 4, (sigmas[0], sigmas[1]))
    assert a * velocity(sigmas[0]) + b * velocity(sigmas[1]) == pytest.approx(stepped)


def test_a_constant_velocity_moves_by_the_whole_distance() -> None:
    sigmas = (1.0, 0.7, 0.5, 0.2, 0.0)
    a, b = coast_weights(sigmas, 2, 4, (1.0, 0.7))
    assert a + b == pytest.approx(sigmas[4] - sigmas[2])


def steps_of(reports: list[StepReport], key: str) -> list[tuple[int, bool]]:
    """Each step of a picture in the order it was done, and whether it was full."""
    done = []
    for report in reports:
        done += [(index, False) for row, index, _ in report.skipped if row == key]
        done += [(index, True) for row, index, _ in report.rows if row == key]
    return done


@pytest.mark.parametrize("mode", list(CacheMode))
def test_every_step_is_reported_once_as_full_or_as_skipped(ask: Any, drain: Any, pose: Any, mode: CacheMode) -> None:
    engine = FakeEngine(TINY, max_batch=4, cache=mode)
    control = pose((128, 128), 0.2)
    engine.submit(ask("a", steps=28, control=control, control_end=0.65))
    engine.submit(ask("b", steps=15))
    outcomes, reports = drain(engine)
    for key, steps, control_steps in (("a", 28, 18), ("b", 15, 0)):
        mask = full_steps(mode, steps, control_steps)
        assert steps_of(reports, key) == list(enumerate(mask))
        finished = outcomes[key]
        assert isinstance(finished, Finished)
        assert (finished.steps_run, finished.steps_skipped) == (steps, steps - sum(mask))
    assert outcomes["a"].pose_applied


def test_every_forward_holds_all_rows_whatever_their_steps(ask: Any, drain: Any) -> None:
    """A row at a skipped step is brought to its next full one at once: it waits for nobody and nobody for it."""
    engine = FakeEngine(TINY, max_batch=2, cache=CacheMode.FAST)
    engine.submit(ask("a", steps=28))
    for _ in range(4):
        engine.step()
    engine.submit(ask("b", steps=28))
    drain(engine)
    both = [keys for keys in engine.forwards if len(keys) == 2]
    assert len(engine.forwards) == 3 + 16
    assert len(both) == 16 - 3


def test_a_row_cancelled_before_a_skipped_step_takes_no_more(ask: Any) -> None:
    engine = FakeEngine(TINY, cache=CacheMode.FAST)
    engine.submit(ask("a", steps=28))
    for _ in range(7):  # encode, and the six first steps
        engine.step()
    engine.cancel("a")
    report = engine.step()
    assert [outcome.key for outcome in report.outcomes] == ["a"]
    assert (report.rows, report.skipped) == ((), ())


def test_a_forward_that_does_not_fit_counts_no_step_twice(ask: Any, drain: Any) -> None:
    engine = FakeEngine(TINY, cache=CacheMode.FAST, trouble={"b": FakeTrouble.CROWDED})
    for key in "ab":
        engine.submit(ask(key, steps=28))
    outcomes, reports = drain(engine)
    for key in "ab":
        assert steps_of(reports, key) == list(enumerate(full_steps(CacheMode.FAST, 28, 0)))
        assert (outcomes[key].steps_run, outcomes[key].steps_skipped) == (28, 12)


class Cramped(FakeEngine):
    """Has no memory to skip a step of more than `fits` rows."""

    fits = 1

    def coast(self, rows: Any) -> None:
        if len(rows) > self.fits:
            raise DoesNotFit


def test_skipping_that_does_not_fit_splits_the_batch_and_loses_no_step(ask: Any, drain: Any) -> None:
    engine = Cramped(TINY, cache=CacheMode.SAFE)
    for key in "abc":
        engine.submit(ask(key, steps=12))
    outcomes, reports = drain(engine)
    for key in "abc":
        assert steps_of(reports, key) == list(enumerate(full_steps(CacheMode.SAFE, 12, 0)))
        assert isinstance(outcomes[key], Finished)


def test_skipping_that_never_fits_fails_the_picture(ask: Any, drain: Any) -> None:
    engine = Cramped(TINY, cache=CacheMode.SAFE)
    engine.fits = 0
    engine.submit(ask("a", steps=12))
    failed = drain(engine)[0]["a"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, OutOfMemory)


def test_a_picture_drawn_again_counts_its_last_try_only(ask: Any, drain: Any) -> None:
    engine = FakeEngine(TINY, cache=CacheMode.FAST, trouble={"a": FakeTrouble.NAN_ONCE})
    engine.submit(ask("a", steps=28))
    finished = drain(engine)[0]["a"]
    assert (finished.steps_run, finished.steps_skipped) == (28, 12)


def test_a_preview_is_of_a_full_step(ask: Any, drain: Any) -> None:
    engine = FakeEngine(TINY, cache=CacheMode.FAST)
    engine.submit(ask("a", steps=28))
    shown = []
    while engine.has_work():
        engine.preview("a")
        shown += [preview.step_index for preview in engine.step().previews]
    mask = full_steps(CacheMode.FAST, 28, 0)
    assert shown
    assert all(mask[step] for step in shown)


def test_control_steps_are_those_that_want_control(ask: Any, pose: Any) -> None:
    for control_end in (0.0, 0.29, 0.65, 1.0):
        for steps in (1, 7, 28):
            sample = Sample(request=ask("a", steps=steps, control=pose((128, 128), 0.0), control_end=control_end))
            wanted = [(step + 1) / steps <= control_end for step in range(steps)]
            assert wanted == [step < sample.control_steps for step in range(steps)]
