"""From a profile's name to an engine: real `from_pretrained` folders, and a clear word when something is missing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file

from models.devices import resolve_device
from models.errors import DeviceMissing, OutOfMemory, UnknownProfile, WeightsMissing
from models.loading import load_engine
from models.profiles import TINY
from models.requests import Finished, PictureRequest
from models.tiny import tiny_folder

no_card = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")


@pytest.fixture
def flux_dir(models_dir: Path, tmp_path: Path) -> Path:
    """A cache that holds "FLUX.1-dev" in its own layout; the weights are the built-in model's."""
    shutil.copytree(tiny_folder(models_dir), tmp_path / "flux1-dev")
    return tmp_path


def test_flux_is_loaded_from_a_folder_of_its_layout_and_draws(flux_dir: Path, drain: Any) -> None:
    engine = load_engine("flux1-dev", "cpu", cache_dir=flux_dir)
    engine.submit(
        PictureRequest(
            key="a",
            prompt="a person",
            control=Image.new("RGB", (512, 512)),
            width=512,
            height=512,
            seed=1,
            steps=2,
            guidance=3.5,
            control_scale=0.9,
            control_end=0.65,
        )
    )
    finished = drain(engine)[0]["a"]
    assert isinstance(finished, Finished)
    assert finished.pixels.shape == (512, 512, 3)
    assert (finished.backend, finished.pose_applied) == ("flux1-dev", True)


def test_a_second_load_draws_the_same_picture(models_dir: Path, ask: Any, drain: Any) -> None:
    pictures = []
    for _ in range(2):
        engine = load_engine("tiny", "cpu", cache_dir=models_dir)
        engine.submit(ask("a"))
        pictures.append(drain(engine)[0]["a"].pixels)
    assert np.array_equal(*pictures)


def test_absent_weights_are_named_with_the_place_they_belong(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"flux1-dev.*black-forest-labs/FLUX.1-dev"):
        load_engine("flux1-dev", "cpu", cache_dir=tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "base/vae/diffusion_pytorch_model.safetensors",
        "base/text_encoder_2/config.json",
        "base/tokenizer_2",
        "base/scheduler",
    ],
)
def test_a_missing_part_is_missing_weights(flux_dir: Path, file: str) -> None:
    lost = flux_dir / "flux1-dev" / file
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    with pytest.raises(WeightsMissing):
        load_engine("flux1-dev", "cpu", cache_dir=flux_dir)


@pytest.mark.parametrize(
    "file", ["transformer/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"]
)
def test_a_cut_off_file_is_missing_weights(flux_dir: Path, file: str) -> None:
    whole = flux_dir / "flux1-dev/base" / file
    whole.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(WeightsMissing):
        load_engine("flux1-dev", "cpu", cache_dir=flux_dir)


@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "proj_out.weight"),
        ("text_encoder_2/model.safetensors", "shared.weight"),
    ],
)
def test_a_file_without_one_of_its_tensors_is_missing_weights(flux_dir: Path, file: str, tensor: str) -> None:
    whole = flux_dir / "flux1-dev/base" / file
    tensors = load_file(whole)
    del tensors[tensor]
    save_file(tensors, whole, metadata={"format": "pt"})
    with pytest.raises(WeightsMissing):
        load_engine("flux1-dev", "cpu", cache_dir=flux_dir)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), MemoryError()])
def test_weights_that_do_not_fit_are_out_of_memory(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(AutoencoderKL, "from_pretrained", read)
    with pytest.raises(OutOfMemory):
        load_engine("tiny", "cpu", cache_dir=models_dir)


def test_a_place_where_nothing_can_be_built_is_missing_weights(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WeightsMissing, match="taken"):
        load_engine("tiny", "cpu", cache_dir=tmp_path / "taken")


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownProfile):
        load_engine("flux9", "cpu", cache_dir=tmp_path)


def test_the_rows_are_the_profiles_unless_told(models_dir: Path) -> None:
    assert load_engine("tiny", "cpu", cache_dir=models_dir).max_batch == TINY.cpu_max_batch
    assert load_engine("tiny", "cpu", cache_dir=models_dir, max_batch=2).max_batch == 2


def test_the_built_in_model_leaves_the_other_cores_alone(models_dir: Path) -> None:
    torch.set_num_threads(2)
    load_engine("tiny", "cpu", cache_dir=models_dir)
    assert torch.get_num_threads() == 1


@no_card
def test_auto_is_the_cpu_without_a_card() -> None:
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(DeviceMissing, match="choose one of cpu"):
        resolve_device(device)
