"""`python -m models` draws without any service, and says on stderr what to do when it cannot."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.adapters import write_lora

from models.__main__ import main

ROOT = Path(__file__).parents[2]


def test_it_draws_the_picture_and_shows_its_progress(tmp_path: Path, models_dir: Path, pose: Any) -> None:
    pose((192, 256), 0.5).save(tmp_path / "map.png")
    out = tmp_path / "x.png"
    words = [
        "--control",
        tmp_path / "map.png",
        "--prompt",
        "a red room",
        "--profile",
        "tiny",
        "--out",
        out,
        "--steps",
        "3",
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "models", *words, "--models-dir", models_dir],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert "step 3 of 3" in done.stderr
    assert "Warning" not in done.stderr
    with Image.open(out) as picture:
        assert (picture.size, picture.mode) == ((192, 256), "RGB")


def test_it_draws_with_loras(tmp_path: Path, models_dir: Path) -> None:
    write_lora(tmp_path / "shelf", "film", size=1.0)
    pictures = []
    for words in ([], ["--lora", "film=0"], ["--lora", "film"]):
        plain = ["--prompt", "a red room", "--steps", "2", "--device", "cpu", "--out", str(tmp_path / "x.png")]
        plain += ["--profile", "tiny"]
        folders = ["--models-dir", str(models_dir), "--loras-dir", str(tmp_path / "shelf")]
        assert main([*plain, *folders, *words]) == 0
        pictures.append((tmp_path / "x.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prompt", " "], "The prompt is empty"),
        (["--width", "250"], "not divisible by 16"),
        (["--steps", "0"], "0 steps are outside 1..50"),
        (["--profile", "flux9"], "choose one of mannequin, tiny, flux1-dev"),
        (["--control", "no-such.png"], "no-such.png cannot be read"),
        (["--control", __file__], "cannot be read"),
        (["--out", "/no/such/folder/x.png"], "There is no folder /no/such/folder"),
        (["--lora", "noir=0.5", "--device", "cpu"], "There is no LoRA 'noir': there are none here"),
        (["--lora", "film=3"], "the strength of 'film' is 3.0, outside 0..2"),
        (["--device", "cuda:99"], "There is no device 'cuda:99'"),
    ],
)
def test_a_mistake_ends_with_2_and_a_sentence(
    words: list[str], told: str, tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = ["--profile", "tiny", "--prompt", "x", "--out", str(tmp_path / "x.png"), "--models-dir", str(models_dir)]
    assert main([*plain, *words]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


def test_a_control_of_another_size_than_asked_is_refused(
    tmp_path: Path, pose: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pose((256, 256), 0).save(tmp_path / "map.png")
    words = [
        "--profile",
        "tiny",
        "--prompt",
        "x",
        "--control",
        str(tmp_path / "map.png"),
        "--width",
        "192",
        "--out",
        str(tmp_path / "x.png"),
    ]
    assert main(words) == 2
    assert "The control picture is 256x256 RGB: draw it as 192x256" in capsys.readouterr().err
