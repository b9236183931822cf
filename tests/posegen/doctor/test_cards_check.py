"""Cards: what torch sees is asked of a real child process; plans are arithmetic and need no card."""

import os
from pathlib import Path

import pytest
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of

from models.memory_plan import nominal_bytes
from posegen.cards import Card
from posegen.doctor.cards import check_cards, runs_on, tell_plan
from posegen.doctor.findings import Told

HIDDEN = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
CARD = Card(device="cuda:0", name="A card", uuid="GPU-1")


def test_without_a_card_the_built_in_model_is_announced_and_torch_was_asked(tmp_path: Path) -> None:
    found = findings_of(check_cards, subject_of(tmp_path, device="auto", environment=HIDDEN))

    assert "draw with the built-in model, on the CPU" in said(found, WARN)
    assert "torch 2." in said(found, OK)
    assert said(found, FAIL) == ""


def test_a_card_that_was_asked_for_and_is_not_there_is_told_and_so_is_a_torch_that_breaks(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')\n")
    broken = {**HIDDEN, "PYTHONPATH": str(tmp_path)}

    told = said(findings_of(check_cards, subject_of(tmp_path, device="cuda:0", environment=broken)), FAIL)

    assert "there is no cuda:0 here" in told
    assert "torch cannot be used: ImportError: libcudart.so.13" in told


def test_on_the_cpu_nothing_is_asked(tmp_path: Path) -> None:
    (found,) = findings_of(check_cards, subject_of(tmp_path, device="cpu"))

    assert found.says == "no card is needed for --device cpu"


@pytest.mark.parametrize(
    ("memory_gb", "verdict", "words"),
    [
        (48, OK, "text encoders resident"),
        (24, OK, "modulation tables"),
        (4, FAIL, "does not fit"),
    ],
)
def test_the_plan_of_each_card_is_told(tmp_path: Path, memory_gb: int, verdict: str, words: str) -> None:
    subject = subject_of(tmp_path, profile="flux1-dev", device="cuda:0")

    found = list(tell_plan(subject, Told("cards"), CARD, nominal_bytes(memory_gb), host_bytes=nominal_bytes(64)))

    assert [finding.verdict for finding in found] == [verdict]
    assert words in found[0].says


@pytest.mark.parametrize(
    ("kind", "built", "fits"),
    [
        ("sm_89", ["sm_75", "sm_80", "sm_86", "sm_90"], True),
        ("sm_61", ["sm_75", "sm_80"], False),
        ("sm_120", ["sm_90"], False),
        ("sm_120", ["sm_90", "compute_90"], True),
        ("sm_90", ["sm_90a"], True),
    ],
)
def test_a_card_that_torch_was_not_built_for_is_known(kind: str, built: list[str], fits: bool) -> None:
    assert runs_on(kind, built) is fits
