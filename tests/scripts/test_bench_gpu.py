"""The bench of a card runs whole on the CPU with the small networks: the same code, but for compiling."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench_gpu
import pytest
import torch
from gpu_networks import ADAPTIVE_NORMS, SPREAD, open_networks, sharing_copy, tabled, with_texts
from gpu_notes import read_notes
from gpu_summary import summarise
from gpu_timing import CellFailed, visit_joining

from models.inflight import InflightEngine
from models.profiles import TINY
from models.runner import FluxRunner

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def runner(models_dir: Path) -> FluxRunner:
    made, is_real = open_networks(TINY, CPU, models_dir, weights="random")
    assert not is_real
    return made


def test_a_run_tells_its_cells_the_newcomer_the_worker_and_what_it_left_out(tmp_path: Path, models_dir: Path) -> None:
    kept = tmp_path / "notes.jsonl"
    small = ("--groups", "128x128:2", "--ways", "stock_single,ours,ours_fast", "--repeats", "1")
    order = ("--end-to-end-orders", "1", "--end-to-end-steps", "2")
    place = ("--device", "cpu", "--profile", "tiny", "--weights", "random")
    files = ("--notes", str(kept), "--markdown", str(tmp_path / "table.md"))
    ran = subprocess.run(
        [sys.executable, "scripts/bench_gpu.py", "--json", *place, *small, *order, *files, "--models-dir", models_dir],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    cells = {(cell["way"], cell["size"], cell["pictures"]): cell for cell in told["cells"]}
    assert set(cells) == {
        ("stock_single", "128x128", 2),
        ("ours", "128x128", 2),
        ("ours_fast", "128x128", 2),
    }
    assert all(cell["timed_steps"] >= 10 and 0 < cell["least_s"] <= cell["picture_s"] for cell in cells.values())
    assert (told["end_to_end"]["pictures"], told["end_to_end"]["steps"]) == (16, 2)
    assert told["end_to_end"]["png_bytes"] > 1000
    assert told["joining"]["forwards"] == 0
    assert {bar["outcome"] for bar in told["bars"]} == {"not measured"}
    assert summarise(read_notes(kept)).cells, "a run that is cut short loses nothing"
    assert "| 128x128 | 2 | ours, bf16 |" in (tmp_path / "table.md").read_text()


def test_without_time_nothing_is_measured_and_everything_is_named(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bench_gpu.py", *arguments, "--models-dir", str(models_dir)])
        assert bench_gpu.main() == 0
        return capsys.readouterr().out

    kept = str(tmp_path / "notes.jsonl")
    told = json.loads(tell("--json", "--device", "cpu", "--profile", "tiny", "--budget-s", "0", "--notes", kept))

    assert told["cells"] == []
    assert told["real_weights"]
    assert len(told["left_out"]) == 18
    assert "left out: 256x256, 4 pictures: no time" in tell("--read", kept)


def test_nobody_joins_a_batch_of_one(runner: FluxRunner) -> None:
    with pytest.raises(CellFailed, match="batch of one"):
        visit_joining(InflightEngine(runner, 1), (128, 128), 1)


def test_random_weights_are_random_everywhere_but_in_the_scales_of_norms(runner: FluxRunner) -> None:
    controlnet: Any = runner.parts.controlnet
    closing = controlnet.controlnet_blocks[0].weight  # zero in a ControlNet that was never trained
    assert closing.std().item() == pytest.approx(SPREAD, rel=0.05)
    scales = [tensor for name, tensor in controlnet.named_parameters() if "norm_q" in name]
    assert scales
    assert all((tensor == 1).all() for tensor in scales)


def test_a_copy_shares_its_tensors_but_not_its_modules(runner: FluxRunner) -> None:
    network: Any = runner.parts.transformer
    copied = sharing_copy(network)
    theirs, ours = dict(network.named_parameters()), dict(copied.named_parameters())
    assert theirs.keys() == ours.keys()
    assert all(theirs[name] is ours[name] for name in theirs)
    assert not set(network.modules()) & set(copied.modules())


def test_tables_leave_the_networks_they_were_made_of_whole(runner: FluxRunner) -> None:
    tables = tabled(runner.parts)
    assert tables.modulation is not None
    norms = [module for module in runner.parts.transformer.modules() if isinstance(module, ADAPTIVE_NORMS)]
    assert norms
    assert all(isinstance(norm.linear, torch.nn.Linear) for norm in norms)
    own = sum(tensor.numel() for tensor in tables.transformer.parameters())
    assert own == TINY.footprint.transformer.parameters - tables.modulation[0].parameters - _embedding(runner)


def test_text_encoders_are_made_when_they_are_asked_for(runner: FluxRunner, models_dir: Path) -> None:
    made_up = runner.encode_words(["a person", "a person", "another"])
    assert torch.equal(made_up[0].embeds, made_up[1].embeds)
    assert not torch.equal(made_up[0].embeds, made_up[2].embeds)
    assert isinstance(runner.parts.text_encoder_2, torch.nn.Identity)

    (encoded,) = with_texts(runner, models_dir).encode_words(["a person"])

    assert sum(tensor.numel() for tensor in runner.parts.text_encoder_2.parameters()) > 1000
    assert encoded.embeds.shape == made_up[0].embeds.shape
    assert encoded.pooled.shape == made_up[0].pooled.shape


def _embedding(runner: FluxRunner) -> int:
    transformer: Any = runner.parts.transformer
    return sum(tensor.numel() for tensor in transformer.time_text_embed.parameters())
