"""Which lossy modes are known to be good on a machine: only those that its verdict file says passed, on its device."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.memory_plan import WeightPrecision
from models.quality import doubt, lossy_mode, verdict_file
from models.velocity_cache import CacheMode

CARD = "NVIDIA L4"


def leave(folder: Path, **changes: Any) -> Path:
    verdict = {"device_name": CARD, "modes": {"fp8": {"passed": True}, "fast": {"passed": False}}} | changes
    file = verdict_file(folder, "flux1-dev")
    file.write_text(json.dumps(verdict))
    return file


@pytest.mark.parametrize(
    ("precision", "cache", "name"),
    [
        (None, CacheMode.OFF, None),
        (WeightPrecision.BF16, CacheMode.OFF, None),
        (WeightPrecision.NF4, CacheMode.OFF, "nf4"),
        (None, CacheMode.SAFE, "safe"),
        (WeightPrecision.FP8, CacheMode.FAST, "fp8+fast"),
    ],
)
def test_a_choice_is_named_by_what_is_lossy_about_it(
    precision: WeightPrecision | None, cache: CacheMode, name: str | None
) -> None:
    assert lossy_mode(precision, cache) == name


def test_a_mode_that_passed_here_is_not_doubted(tmp_path: Path) -> None:
    leave(tmp_path)
    assert doubt(tmp_path, "flux1-dev", "fp8", CARD) is None


def test_a_mode_is_doubted_without_a_verdict_on_it_or_when_it_failed(tmp_path: Path) -> None:
    assert "there is no" in (doubt(tmp_path, "flux1-dev", "fp8", CARD) or "")
    leave(tmp_path)
    assert "did not pass" in (doubt(tmp_path, "flux1-dev", "fast", CARD) or "")
    assert "no verdict" in (doubt(tmp_path, "flux1-dev", "fp8+fast", CARD) or "")
    assert "there is no" in (doubt(tmp_path, "flux1-dev-unionpro", "fp8", CARD) or "")


def test_a_verdict_of_another_card_counts_for_nothing(tmp_path: Path) -> None:
    leave(tmp_path, device_name="NVIDIA H200")
    assert "another device, NVIDIA H200" in (doubt(tmp_path, "flux1-dev", "fp8", CARD) or "")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"device_name": 1, "modes": []}', '{"device_name": "x", "modes": {"fp8": 1}}']
)
def test_a_file_that_is_no_verdict_is_a_doubt_and_no_crash(tmp_path: Path, content: str) -> None:
    verdict_file(tmp_path, "flux1-dev").write_text(content)
    assert "cannot be read" in (doubt(tmp_path, "flux1-dev", "fp8", CARD) or "")
