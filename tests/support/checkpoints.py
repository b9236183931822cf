"""Checkpoints for tests: the built-in model's weights in every layout that FLUX's are passed on in."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.bfl_layout import SWAPPED, bfl_layout
from models.profiles import PROFILES

TRANSFORMER = "base/transformer/diffusion_pytorch_model.safetensors"
CONTROLNET = "controlnet/diffusion_pytorch_model.safetensors"


def fill_folder(tiny: Path, models_dir: Path, profile: str = "flux1-dev") -> Path:
    """Copy the built-in model to where a profile's own folder is; return that folder."""
    return Path(shutil.copytree(tiny, models_dir / profile))


def fill_hub_cache(tiny: Path, cache: Path, profile: str = "flux1-dev") -> dict[str, Path]:
    """Lay the built-in model out as the hub's library keeps what it downloaded; return the snapshots by part."""
    snapshots = {}
    for part in ("base", "controlnet"):
        repository = getattr(PROFILES[profile], part)
        commit = repository.revision or hashlib.sha1(repository.repo.encode()).hexdigest()
        own = cache / f"models--{repository.repo.replace('/', '--')}"
        (own / "refs").mkdir(parents=True)
        (own / "refs" / "main").write_text(commit)
        (own / "blobs").mkdir()
        snapshots[part] = own / "snapshots" / commit
        for file in sorted(path for path in (tiny / part).rglob("*") if path.is_file()):
            blob = own / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copy(file, blob)
            link = snapshots[part] / file.relative_to(tiny / part)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
    return snapshots


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Rewrite a safetensors file."""
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def configure(path: Path, **changes: object) -> None:
    """Rewrite a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def shard(path: Path, shards: int = 2) -> Path:
    """Replace a safetensors file by shards and their index, as the libraries write them; return the index."""
    tensors = load_file(path)
    weight_map = {
        name: f"{path.stem}-{at % shards + 1:05}-of-{shards:05}.safetensors" for at, name in enumerate(tensors)
    }
    for name in sorted(set(weight_map.values())):
        part = {tensor: tensors[tensor] for tensor, file in weight_map.items() if file == name}
        save_file(part, path.with_name(name), metadata={"format": "pt"})
    path.unlink()
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return index


def bfl_tensors(transformer: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """Return a transformer's tensors stacked and named as Black Forest Labs do."""
    ours = load_file(transformer / "diffusion_pytorch_model.safetensors")
    theirs = {}
    for name, parts in bfl_layout(json.loads((transformer / "config.json").read_text())).items():
        stacked = torch.cat([ours[part] for part in parts])
        if name.startswith(SWAPPED):
            stacked = torch.cat(stacked.chunk(2)[::-1])
        theirs[prefix + name] = stacked
    return theirs
