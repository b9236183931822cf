"""Where a profile's weights lie on this machine: its own folder under the models' folder, else the Hugging Face cache.

Torch-free: the command and the worker ask here before anything heavy is imported. Nothing is downloaded; only
`models.pulling` does that, and only when an operator asks.
"""

from dataclasses import dataclass
from pathlib import Path

from models.errors import WeightsIncomplete, WeightsMissing
from models.profiles import Profile, Repository

BASE, CONTROLNET, PREVIEW = "base", "controlnet", "preview"
INDEX = "model_index.json"
"""In a base's folder: of which pipeline it is."""
TOKENIZERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "tokenizer": (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "tokenizer_2": (("tokenizer.json",), ("spiece.model",)),
}
"""The tokenizers' folders, and for each the files of which one set has to be there."""
FILES: dict[str, tuple[str, ...]] = {
    BASE: (
        INDEX,
        "scheduler/*.json",
        *(f"{tokenizer}/{kind}" for tokenizer in TOKENIZERS for kind in ("*.json", "*.txt", "*.model")),
        *(f"{network}/*.json" for network in ("transformer", "vae", "text_encoder", "text_encoder_2")),
        *(f"{network}/diffusion_pytorch_model*.safetensors" for network in ("transformer", "vae")),
        *(f"{network}/model*.safetensors" for network in ("text_encoder", "text_encoder_2")),
    ),
    CONTROLNET: (
        "config.json",
        "diffusion_pytorch_model*.safetensors",
        "diffusion_pytorch_model*.safetensors.index.json",
    ),
    PREVIEW: ("config.json", "diffusion_pytorch_model.safetensors"),
}
"""What is needed of each repository, as patterns. FLUX.1-dev's own also holds the same weights as single files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFolders:
    """Where a profile's weights lie. base has FLUX's subfolders; controlnet is the ControlNet itself."""

    base: Path
    controlnet: Path


def find_weights(profile: Profile, models_dir: Path) -> WeightFolders:
    """Find the weights of a profile that has any to download; each part for itself.

    What is in the folders is checked elsewhere (`models.checking`). Raises WeightsMissing, WeightsIncomplete.
    """
    return WeightFolders(
        base=find_part(profile, BASE, models_dir), controlnet=find_part(profile, CONTROLNET, models_dir)
    )


def find_part(profile: Profile, part: str, models_dir: Path) -> Path:
    """Find one part: base, controlnet or preview. Raises WeightsMissing, WeightsIncomplete."""
    repository: Repository | None = getattr(profile, part)
    if repository is None:
        raise ValueError(f"{profile.name} has no {part} to find")
    own = models_dir / profile.name / part
    return own if own.is_dir() else _in_hub_cache(profile, repository, part, own)


def _in_hub_cache(profile: Profile, repository: Repository, part: str, own: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repository.repo, revision=repository.revision, allow_patterns=list(FILES[part]), local_files_only=True
        )
    except IncompleteSnapshotError as e:
        lacking = f"the Hugging Face cache has only some of {repository}"
        raise WeightsIncomplete(profile.name, f"{lacking}, in {e.snapshot_path}") from e
    except LocalEntryNotFoundError as e:
        raise WeightsMissing(profile.name, f"neither {own} nor the Hugging Face cache has {repository}") from e
    return Path(found)
