"""Weights are found where they lie, and what is missing is named with the command that fetches it."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from models.detectors.weights import KNOWN, OPENPOSE, RTMLIB, DetectorWeights, find_weights, what_to_fetch
from models.errors import DetectorMissing


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache of our own, so that this machine's tells nothing."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


def put(folder: Path, weights: DetectorWeights) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in weights.files:
        (folder / file.name).write_bytes(b"weights")


def put_in_cache(cache: Path, weights: DetectorWeights) -> Path:
    """As `hf download` leaves it without --local-dir."""
    repo = cache / f"models--{weights.repo.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    put(repo / "snapshots" / "abc", weights)
    return repo / "snapshots" / "abc"


@pytest.mark.parametrize("weights", KNOWN, ids=lambda weights: weights.name)
def test_a_detector_is_found_in_the_folder_or_in_the_cache(
    weights: DetectorWeights, tmp_path: Path, hub_cache: Path
) -> None:
    cached = put_in_cache(hub_cache, weights)
    found = find_weights(tmp_path / "detectors")
    assert found.weights is weights
    assert found.paths == tuple(cached / file.name for file in weights.files)

    put(tmp_path / "detectors", weights)
    assert find_weights(tmp_path / "detectors").paths[0].parent == tmp_path / "detectors"


def test_of_both_the_free_one_is_wanted(tmp_path: Path) -> None:
    put(tmp_path, OPENPOSE)
    put(tmp_path, RTMLIB)

    assert find_weights(tmp_path).weights is RTMLIB


def test_models_of_the_same_family_are_taken_by_their_names(tmp_path: Path) -> None:
    for name in ("yolox_m_8xb8-300e_humanart-c2c7a14a.onnx", "rtmw-dw-x-l_simcc-cocktail14_270e-384x288.onnx"):
        (tmp_path / name).write_bytes(b"weights")

    assert [path.name[:5] for path in find_weights(tmp_path).paths] == ["yolox", "rtmw-"]


def test_half_of_a_detector_is_none_and_the_missing_half_is_named(tmp_path: Path) -> None:
    put(tmp_path, RTMLIB)
    (tmp_path / "dw-ll_ucoco_384.onnx").unlink()
    put(tmp_path, OPENPOSE)
    (tmp_path / "facenet.pth").unlink()

    with pytest.raises(DetectorMissing) as missing:
        find_weights(tmp_path)

    assert missing.value.reason.startswith("no weights: ")
    assert f"rtmlib: dw-ll_ucoco_384.onnx not in {tmp_path}" in missing.value.reason
    assert f"openpose: facenet.pth not in {tmp_path}" in missing.value.reason


def test_a_library_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, RTMLIB)
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "rtmlib" else real(name))

    with pytest.raises(DetectorMissing, match=r"rtmlib is not installed \(pip install"):
        find_weights(tmp_path)


def test_what_to_fetch_is_a_command_for_each_detector(tmp_path: Path) -> None:
    told = what_to_fetch(tmp_path)

    assert f"hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --local-dir {tmp_path}" in told
    assert "hf download lllyasviel/Annotators body_pose_model.pth hand_pose_model.pth facenet.pth" in told
    assert "non-commercial" in told
