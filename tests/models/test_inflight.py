"""The real engine's own promises: what it skips, what it shares, and how it survives torch's errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.devices import faults_named
from models.errors import BadPicture, CardFailed, OutOfMemory
from models.inflight import InflightEngine, Recent
from models.requests import Failed, Finished


def batches_of(engine: InflightEngine, name: str, argument: str) -> list[int]:
    """Record the batch size of every call of a network, read off one of its arguments."""
    seen: list[int] = []

    def record(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((kwargs[argument] if argument in kwargs else args[0]).shape[0])

    getattr(engine.runner.parts, name).register_forward_pre_hook(record, with_kwargs=True)
    return seen


def failing(do: Callable[..., Tensor], when: Callable[[Tensor], bool], error: Exception) -> Callable[..., Tensor]:
    def denoise(latents: Tensor, *rest: Any) -> Tensor:
        if when(latents):
            raise error
        return do(latents, *rest)

    return denoise


def test_the_controlnet_runs_only_for_rows_that_still_follow_it(
    tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any
) -> None:
    control, transformer = (batches_of(tiny_engine, name, "hidden_states") for name in ("controlnet", "transformer"))
    tiny_engine.submit(ask("none", steps=5))
    tiny_engine.submit(ask("half", steps=4, control=pose((128, 128), 0), control_end=0.5))
    tiny_engine.submit(ask("all", steps=4, control=pose((128, 128), 1), control_end=1.0))
    drain(tiny_engine)
    assert transformer == [3, 3, 3, 3, 1]
    assert control == [2, 2, 1, 1]


def test_new_prompts_are_encoded_in_one_pass_and_known_ones_not_again(
    tiny_engine: InflightEngine, ask: Any, drain: Any
) -> None:
    texts = batches_of(tiny_engine, "text_encoder_2", "input_ids")
    for key, prompt in (("a", "red"), ("b", "blue"), ("c", "red")):
        tiny_engine.submit(ask(key, prompt=prompt))
    drain(tiny_engine)
    tiny_engine.submit(ask("d", prompt="blue"))
    drain(tiny_engine)
    assert texts == [2]


def test_a_pose_map_is_encoded_once_for_all_its_variations(
    tiny_engine: InflightEngine, ask: Any, pose: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = tiny_engine.runner.encode_controls
    monkeypatch.setattr(
        tiny_engine.runner, "encode_controls", lambda maps: (encoded.append(len(maps)), encode(maps))[1]
    )
    for seed in range(3):
        tiny_engine.submit(ask(f"k{seed}", seed=seed, control=pose((128, 128), 0.5)))
    drain(tiny_engine)
    assert encoded == [1]


def test_lack_of_memory_splits_the_batch_and_changes_no_picture(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(f"k{seed}", seed=seed, steps=4) for seed in range(4)]
    for request in requests:
        tiny_engine.submit(request)
    expected = drain(tiny_engine)[0]
    for request in requests:
        tiny_engine.submit(request)
    while not tiny_engine.step().rows:
        pass
    crowded = failing(tiny_engine.runner.denoise, lambda latents: len(latents) > 2, torch.OutOfMemoryError("full"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", crowded)
    outcomes, reports = drain(tiny_engine)
    assert max(len(report.rows) for report in reports) == 2
    for key, outcome in outcomes.items():
        assert outcome.steps_run == 4
        assert np.abs(outcome.pixels - expected[key].pixels).max() < 1e-4


def test_a_picture_that_does_not_fit_alone_is_told_so(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = failing(tiny_engine.runner.denoise, lambda _: True, torch.OutOfMemoryError("full"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", full)
    tiny_engine.submit(ask("a"))
    failed = drain(tiny_engine)[0]["a"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, OutOfMemory)


def test_warming_up_finds_how_many_rows_fit(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def is_crowded(latents: Tensor) -> bool:
        tried.append(len(latents))
        return len(latents) > 2

    crowded = failing(tiny_engine.runner.denoise, is_crowded, torch.OutOfMemoryError("full"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", crowded)
    tiny_engine.warm_up()
    for key in "abcd":
        tiny_engine.submit(ask(key, width=256, height=256, steps=1))
    drain(tiny_engine)
    assert tried == [4, 2, 2, 2]


def test_warming_up_without_room_for_one_picture_is_out_of_memory(
    tiny_engine: InflightEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = failing(tiny_engine.runner.denoise, lambda _: True, torch.OutOfMemoryError("full"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", full)
    with pytest.raises(OutOfMemory, match="256x256"):
        tiny_engine.warm_up()


def test_warming_up_networks_that_do_not_work_is_a_failed_card(
    tiny_engine: InflightEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = failing(tiny_engine.runner.denoise, lambda _: True, RuntimeError("cuDNN error: NOT_SUPPORTED"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", broken)
    with pytest.raises(CardFailed, match=r"cuDNN error: NOT_SUPPORTED"):
        tiny_engine.warm_up()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("full"),
        MemoryError("Unable to allocate 48 MiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(tiny_engine.runner, "denoise", failing(tiny_engine.runner.denoise, lambda _: True, error))
    tiny_engine.submit(ask("a"))
    assert isinstance(drain(tiny_engine)[0]["a"].error, OutOfMemory)


def test_a_device_error_is_a_failed_card(
    tiny_engine: InflightEngine, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = failing(tiny_engine.runner.denoise, lambda _: True, torch.AcceleratorError("CUDA error: device lost"))
    monkeypatch.setattr(tiny_engine.runner, "denoise", broken)
    tiny_engine.submit(ask("a"))
    tiny_engine.step()
    with pytest.raises(CardFailed, match=r"device cpu failed \(CUDA error: device lost\)"):
        tiny_engine.step()


@pytest.mark.parametrize(
    ("error", "by_itself"),
    [
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), False),
        (torch.AcceleratorError("CUDA error: an error of a driver to come"), False),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), True),
    ],
)
def test_a_failed_card_says_whether_a_picture_can_have_done_it(
    tiny_engine: InflightEngine, ask: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, by_itself: bool
) -> None:
    monkeypatch.setattr(tiny_engine.runner, "denoise", failing(tiny_engine.runner.denoise, lambda _: True, error))
    tiny_engine.submit(ask("a"))
    tiny_engine.step()
    with pytest.raises(CardFailed) as raised:
        tiny_engine.step()
    assert raised.value.by_itself is by_itself


def test_a_card_that_is_gone_is_not_taken_for_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "empty_cache", gone)
    with pytest.raises(CardFailed, match="unspecified launch failure"), faults_named(torch.device("cuda:0")):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_picture_gone_bad_is_drawn_again_in_higher_precision_with_its_seed(
    tiny_engine: InflightEngine, ask: Any, drain: Any
) -> None:
    tiny_engine.submit(ask("a"))
    good = drain(tiny_engine)[0]["a"]
    spoil_single_precision(tiny_engine)
    tiny_engine.submit(ask("a"))
    again = drain(tiny_engine)[0]["a"]
    assert isinstance(again, Finished)
    assert np.abs(again.pixels - good.pixels).max() < 1e-4


def test_after_a_precise_picture_the_weights_are_what_they_were(
    tiny_engine: InflightEngine, ask: Any, drain: Any
) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_engine.runner.parts.transformer.state_dict().items()}
    tiny_engine.submit(ask("precise", precise=True))
    tiny_engine.submit(ask("plain"))
    drain(tiny_engine)
    after = tiny_engine.runner.parts.transformer.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )


def test_a_picture_bad_in_both_precisions_fails(tiny_engine: InflightEngine, ask: Any, drain: Any) -> None:
    with torch.no_grad():
        tiny_engine.runner.parts.transformer.proj_out.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    tiny_engine.submit(ask("a"))
    failed = drain(tiny_engine)[0]["a"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, BadPicture)
    assert failed.error.reason == "NaN"


def spoil_single_precision(engine: InflightEngine) -> None:
    """Make the transformer answer NaN in fp32 only, as an overflow would."""

    def spoil(_: Any, __: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(part * float("nan") if part.dtype == torch.float32 else part for part in output)

    engine.runner.parts.transformer.register_forward_hook(spoil)


def test_the_cache_keeps_the_most_recent_and_makes_each_missing_once() -> None:
    recent: Recent[str] = Recent(2)
    made: list[list[int]] = []

    def make(at: list[int]) -> list[str]:
        made.append(at)
        return [f"made {index}" for index in at]

    assert recent.fill(["a", "b", "a"], make) == ["made 0", "made 1", "made 0"]
    recent.fill(["c", "a"], make)
    recent.fill(["b"], make)
    assert made == [[0, 1], [0], [0]]


def short_of_memory(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, fits: int, fails: int) -> None:
    """Let torch cast `fits` tensors to a dtype, then raise OutOfMemoryError for the next `fails` of them."""
    cast, seen = torch.Tensor.to, []

    def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args[:1] == (dtype,) and tensor.dtype != dtype:
            seen.append(tensor.shape)
            if fits < len(seen) <= fits + fails:
                raise torch.OutOfMemoryError("full")
        return cast(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", to)


def test_a_precision_that_does_not_fit_fails_its_pictures_alone(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_engine.submit(ask("plain"))
    expected = drain(tiny_engine)[0]["plain"]
    short_of_memory(monkeypatch, torch.float64, fits=30, fails=10_000)
    for key in ("first", "second"):
        tiny_engine.submit(ask(key, precise=True))
    tiny_engine.submit(ask("plain"))
    outcomes = drain(tiny_engine)[0]
    assert isinstance(outcomes["first"].error, OutOfMemory)
    assert isinstance(outcomes["second"].error, OutOfMemory)
    assert np.abs(outcomes["plain"].pixels - expected.pixels).max() < 1e-4


def test_a_precision_that_fits_again_is_drawn_in(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_engine.submit(ask("plain"))
    expected = drain(tiny_engine)[0]["plain"]
    short_of_memory(monkeypatch, torch.float64, fits=30, fails=1)
    for key in ("first", "second"):
        tiny_engine.submit(ask(key, precise=True))
    outcomes = drain(tiny_engine)[0]
    assert {type(outcome) for outcome in outcomes.values()} == {Finished}
    assert np.abs(outcomes["second"].pixels - expected.pixels).max() < 1e-4


def test_a_way_back_that_does_not_fit_is_gone_by_another_way(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_engine.submit(ask("plain"))
    expected = drain(tiny_engine)[0]["plain"]
    tiny_engine.runner.precision.use(precise=True)
    short_of_memory(monkeypatch, torch.float32, fits=30, fails=1)
    tiny_engine.submit(ask("plain"))
    assert np.abs(drain(tiny_engine)[0]["plain"].pixels - expected.pixels).max() < 1e-4


def test_a_way_back_that_failed_is_gone_to_its_end_before_anything_is_drawn(
    tiny_engine: InflightEngine, ask: Any, drain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_engine.submit(ask("plain"))
    expected = drain(tiny_engine)[0]["plain"]
    tiny_engine.runner.precision.use(precise=True)
    short_of_memory(monkeypatch, torch.float32, fits=30, fails=2)
    tiny_engine.submit(ask("unlucky"))
    assert isinstance(drain(tiny_engine)[0]["unlucky"].error, OutOfMemory)
    tiny_engine.submit(ask("plain"))
    assert np.abs(drain(tiny_engine)[0]["plain"].pixels - expected.pixels).max() < 1e-4
