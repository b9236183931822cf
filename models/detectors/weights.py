"""Which files a detector needs, what to type to get them, and whether they are here. Pure data and paths.

Looked for in one folder (as `hf download --local-dir` fills it), then in the Hugging Face cache. Imports nothing
heavy: the API says from here what an operator has to fetch.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import DetectorMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One file: its name in the repository, and the patterns under which it (or its like) is taken in the folder."""

    name: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorWeights:
    """One detector: the packages that run it and the files it needs."""

    name: str
    title: str
    licence: str
    repo: str
    size_mb: int
    packages: tuple[str, ...]
    install: str
    files: tuple[WeightFile, ...]

    def fetch_command(self, folder: Path) -> str:
        """Return the command that puts the files into the folder."""
        return f"hf download {self.repo} {' '.join(file.name for file in self.files)} --local-dir {folder}"


RTMLIB = DetectorWeights(
    name="rtmlib",
    title="rtmlib's whole-body models",
    licence="Apache-2.0",
    repo="yzd-v/DWPose",
    size_mb=350,
    packages=("rtmlib", "onnxruntime", "cv2"),
    install="pip install onnxruntime opencv-python-headless && pip install --no-deps rtmlib",
    files=(
        WeightFile(name="yolox_l.onnx", patterns=("yolox*.onnx",)),
        WeightFile(name="dw-ll_ucoco_384.onnx", patterns=("dw-*.onnx", "rtmw*.onnx")),
    ),
)
OPENPOSE = DetectorWeights(
    name="openpose",
    title="controlnet-aux's OpenPose",
    licence="CMU, non-commercial use only",
    repo="lllyasviel/Annotators",
    size_mb=510,
    packages=("controlnet_aux", "torch"),
    install="pip install controlnet-aux torch torchvision",
    files=(
        WeightFile(name="body_pose_model.pth", patterns=("body_pose_model.pth",)),
        WeightFile(name="hand_pose_model.pth", patterns=("hand_pose_model.pth",)),
        WeightFile(name="facenet.pth", patterns=("facenet.pth",)),
    ),
)
KNOWN: tuple[DetectorWeights, ...] = (RTMLIB, OPENPOSE)
"""In the order in which they are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWeights:
    """A detector whose packages and files are all here; `paths` in the order of its files."""

    weights: DetectorWeights
    paths: tuple[Path, ...]


def find_weights(folder: Path) -> FoundWeights:
    """Return the first detector that has everything. Loads nothing. Raises DetectorMissing, saying what to fetch."""
    reasons = []
    for weights in KNOWN:
        missing = [package for package in weights.packages if importlib.util.find_spec(package) is None]
        if missing:
            reasons.append(f"{weights.name}: {', '.join(missing)} is not installed ({weights.install})")
            continue
        paths = [_in_folder(file, folder) or _in_hub_cache(weights.repo, file) for file in weights.files]
        found = [path for path in paths if path is not None]
        if len(found) == len(paths):
            return FoundWeights(weights=weights, paths=tuple(found))
        lacking = [file.name for file, path in zip(weights.files, paths, strict=True) if path is None]
        reasons.append(f"{weights.name}: {', '.join(lacking)} not in {folder} nor in the Hugging Face cache")
    raise DetectorMissing(f"no weights: {'; '.join(reasons)}")


def what_to_fetch(folder: Path) -> str:
    """Return what an operator types so that photos can be read, as one paragraph."""
    told = [
        f"{weights.fetch_command(folder)} ({weights.title}, {weights.size_mb} MB, {weights.licence})"
        for weights in KNOWN
    ]
    return f"Fetch one detector's weights, then restart the worker: {' or '.join(told)}."


def _in_folder(file: WeightFile, folder: Path) -> Path | None:
    """Return the file by its own name, else the first that is like it."""
    if (folder / file.name).is_file():
        return folder / file.name
    like: Sequence[Path] = sorted(path for pattern in file.patterns for path in folder.glob(pattern) if path.is_file())
    return like[0] if like else None


def _in_hub_cache(repo: str, file: WeightFile) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, file.name)
    return Path(found) if isinstance(found, str) else None
