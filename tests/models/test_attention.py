"""Which attention is used: what works on the device, torch's own for high precision, and nothing from the hub."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch._inductor.runtime.cache_dir_utils import cache_dir

from models import attention
from models.attention import Attention, choose_attention
from models.devices import keep_compiled_in
from models.errors import AttentionMissing
from models.inflight import InflightEngine
from models.loading import load_engine
from models.switches import AttentionKind

CPU = torch.device("cpu")


def backends(engine: InflightEngine) -> set[AttentionBackendName]:
    parts = engine.runner.parts
    return {
        module.processor._attention_backend
        for network in (parts.transformer, parts.controlnet)
        for module in network.modules()
        if hasattr(module, "processor")
    }


def test_a_cpu_has_torchs_own(tiny_engine: InflightEngine) -> None:
    assert choose_attention(AttentionKind.AUTO, CPU, torch.float32, 32) is AttentionKind.NATIVE
    assert tiny_engine.attention == "native"
    assert backends(tiny_engine) == {AttentionBackendName.NATIVE}


@pytest.mark.parametrize("kind", [AttentionKind.CUDNN, AttentionKind.FLASH, AttentionKind.FLASH3])
def test_what_does_not_work_here_is_refused_when_it_is_asked_for(models_dir: Path, kind: AttentionKind) -> None:
    with pytest.raises(AttentionMissing, match=rf"Attention '{kind.value}' cannot be used here .*CUDA"):
        load_engine("tiny", "cpu", cache_dir=models_dir, attention=kind)


def test_no_choice_fetches_a_kernel_from_the_hub() -> None:
    assert set(attention._BACKENDS) == set(AttentionKind) - {AttentionKind.AUTO}
    assert not [backend for backend in attention._BACKENDS.values() if "hub" in backend.value]


def test_precise_pictures_get_torchs_own_and_the_others_the_chosen_one_again(
    tiny_engine: InflightEngine, ask: Any, drain: Any
) -> None:
    runner = tiny_engine.runner
    runner.attention = Attention((runner.parts.transformer, runner.parts.controlnet), AttentionKind.CUDNN)
    assert backends(tiny_engine) == {AttentionBackendName._NATIVE_CUDNN}
    tiny_engine.submit(ask("precise", precise=True, steps=1))
    drain(tiny_engine)
    assert backends(tiny_engine) == {AttentionBackendName.NATIVE}
    runner.suit(precise=False, adapted=False)
    assert backends(tiny_engine) == {AttentionBackendName._NATIVE_CUDNN}
    Attention((runner.parts.transformer,), AttentionKind.NATIVE)  # diffusers remembers the last for the whole process


def test_compiled_code_is_kept_where_it_is_told_unless_the_operator_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", "elsewhere")
    keep_compiled_in(tmp_path)
    assert cache_dir() == str(tmp_path)
    assert os.environ["TRITON_CACHE_DIR"] == "elsewhere"
