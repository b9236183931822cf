"""The built-in demonstration model as a profile: its weights travel in the package, and without them `tiny` stands in.

The weights here are an export of untrained networks, put where the package looks; what the trained ones draw is judged
in test_mannequin_scores.py.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mannequin_networks
import mannequin_recipe as recipe
import pytest
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from support.untrained import write_untrained

from models import mannequin
from models.__main__ import main
from models.errors import WeightsIncomplete, WeightsMissing
from models.footprints import footprint_of
from models.library_noise import quiet_libraries
from models.loading import load_engine
from models.mannequin import INDEX, built_in_profile, packaged_weights, weights_are_there
from models.profiles import MANNEQUIN, TINY
from models.requests import Finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of untrained networks."""
    return write_untrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def packed(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where the package's weights are looked for."""
    monkeypatch.setattr(mannequin, "WEIGHTS", untrained)
    return untrained


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without weights."""
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path / "none")


@pytest.mark.usefixtures("packed")
def test_it_is_loaded_from_the_package_and_draws_in_its_own_name(
    tmp_path: Path, ask: Any, drain: Any, pose: Any
) -> None:
    engine = load_engine("mannequin", "cpu", cache_dir=tmp_path, previews=True)
    engine.submit(ask("a", control=pose(MANNEQUIN.default_size, 0.5)))
    outcomes, _ = drain(engine)
    engine.close()

    finished = outcomes["a"]
    assert isinstance(finished, Finished)
    assert (finished.backend, finished.pose_applied) == ("mannequin", True)
    assert finished.pixels.shape == (128, 128, 3)
    assert list(tmp_path.iterdir()) == []  # nothing was built or fetched


@pytest.mark.usefixtures("unpacked")
def test_without_weights_the_message_says_where_they_would_be_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"none in .*: train them .*, or use the profile tiny"):
        load_engine("mannequin", "cpu", cache_dir=tmp_path)


def test_a_package_that_lost_a_file_says_so_instead_of_drawing_something_else(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(untrained, tmp_path / "weights")
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path / "weights")
    next((tmp_path / "weights").rglob("vae/*.safetensors")).unlink()

    assert built_in_profile() is MANNEQUIN
    with pytest.raises(WeightsIncomplete, match="vae"):
        load_engine("mannequin", "cpu", cache_dir=tmp_path)


def test_what_is_drawn_with_unasked_is_the_mannequin_where_its_weights_are_else_tiny(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, expected in ((untrained, MANNEQUIN), (tmp_path, TINY)):
        monkeypatch.setattr(mannequin, "WEIGHTS", folder)
        assert built_in_profile() is expected
        assert weights_are_there() is (expected is MANNEQUIN)


@pytest.mark.parametrize("there", [True, False])
def test_the_command_draws_with_it_unasked_where_its_weights_are(
    there: bool, request: pytest.FixtureRequest, tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request.getfixturevalue("packed" if there else "unpacked")
    words = ["--prompt", "a man in a red shirt", "--steps", "1", "--device", "cpu", "--out", str(tmp_path / "x.png")]

    assert main([*words, "--models-dir", str(models_dir)]) == 0

    assert f"loading {'mannequin' if there else 'tiny'} ..." in capsys.readouterr().err


@pytest.mark.usefixtures("packed")
def test_the_profile_has_the_numbers_of_its_networks_and_of_their_training() -> None:
    folders = packaged_weights()
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2")
    configs = {part: json.loads((folders.base / part / "config.json").read_text()) for part in parts}
    controlnet = json.loads((folders.controlnet / "config.json").read_text())
    assert MANNEQUIN.footprint == footprint_of(controlnet=controlnet, **configs)
    assert (MANNEQUIN.text_tokens, MANNEQUIN.clip_tokens) == (recipe.TEXT_TOKENS, recipe.CLIP_TOKENS)
    assert MANNEQUIN.default_size == (recipe.SIDE_PX, recipe.SIDE_PX)


@pytest.mark.skipif(not weights_are_there(), reason="the trained weights are not in this package")
def test_the_weights_that_are_shipped_are_whole_and_of_the_sizes_that_training_builds(untrained: Path) -> None:
    def sizes(folder: Path) -> dict[str, int]:
        return {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*.safetensors")}

    shipped = sizes(mannequin.WEIGHTS)
    assert shipped == sizes(untrained)
    assert sum(shipped.values()) <= 18e6


def test_diffusers_own_pipeline_reads_an_export(untrained: Path) -> None:
    with quiet_libraries():
        pipeline = FluxPipeline.from_pretrained(untrained / "base", local_files_only=True)
    assert pipeline.transformer.config.num_attention_heads == 6


def test_an_export_that_is_not_over_does_not_count_as_weights(
    untrained: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path)
    shutil.copytree(untrained, tmp_path, dirs_exist_ok=True)
    monkeypatch.setitem(mannequin_networks.SCHEDULER, "broken", object())
    with pytest.raises(TypeError):
        write_untrained(tmp_path)
    assert not weights_are_there()


def test_an_installed_package_carries_weights_and_model_card(untrained: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    package = source / "models" / "mannequin"
    package.mkdir(parents=True)
    for file in ("pyproject.toml", "README.md", "LICENSE", "models/__init__.py"):
        shutil.copy(ROOT / file, source / file)
    for file in ("__init__.py", "MODEL_CARD.md"):
        shutil.copy(ROOT / "models" / "mannequin" / file, package / file)
    shutil.copytree(untrained, package / "weights")
    (package / "weights" / mannequin.SCORES).write_text("{}")

    build = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_py", "--build-lib", "built"]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=120)

    installed = source / "built" / "models" / "mannequin"
    carried = {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()}
    assert {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()} == carried
    assert {"MODEL_CARD.md", f"weights/base/{INDEX}", "weights/detector/model.safetensors"} <= carried
