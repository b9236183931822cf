"""The bench of a card, on one: its ways draw there, compiled, and FLUX at its true size is made there at random."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]

ROOT = Path(__file__).parents[2]
ROOMY_BYTES = 44 * 2**30
"""What transformer, ControlNet and autoencoder of FLUX.1-dev take in bf16 with a picture, generously."""


def bench(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    places = ("--models-dir", tmp_path / "models", "--notes", tmp_path / "notes.jsonl")
    run = subprocess.run(
        [sys.executable, "scripts/bench_gpu.py", "--json", "--device", "cuda:0", *arguments, *places],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode in (0, 1), run.stderr  # 1: it ran, and a bar was missed
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def test_the_small_networks_are_measured_in_every_way_and_through_the_worker(tmp_path: Path) -> None:
    orders = ("--end-to-end-orders", "1", "--end-to-end-steps", "4")
    told = bench(tmp_path, "--profile", "tiny", "--groups", "128x128:2", "--budget-s", "240", *orders)

    assert {cell["way"] for cell in told["cells"]} >= {"stock_batched", "stock_compiled", "ours", "ours_compiled"}
    assert all(cell["memory_bytes"] > 0 and cell["share"] > 0 for cell in told["cells"])
    assert told["joining"]["forwards"] <= 1
    assert told["end_to_end"]["pictures"] == 16


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_properties(0).total_memory < ROOMY_BYTES,
    reason="needs a card that holds FLUX.1-dev in bf16",
)
def test_flux_at_random_is_made_on_the_card_and_measured(tmp_path: Path) -> None:
    few = ("--ways", "stock_batched,ours", "--groups", "512x512:1", "--no-compile", "--end-to-end-orders", "0")
    told = bench(tmp_path, "--weights", "random", "--budget-s", "200", *few)

    assert {cell["way"] for cell in told["cells"]} == {"stock_batched", "ours"}
    assert all(cell["memory_bytes"] > 28e9 for cell in told["cells"])
    assert told["matmul_tflops"] > 1
