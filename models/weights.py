"""Where a profile's weights lie on this machine: its own folder under the models' folder, else the Hugging Face cache.

Torch-free: the command and the worker ask here before anything heavy is imported. Nothing is downloaded.
"""

from dataclasses import dataclass
from pathlib import Path

from models.errors import WeightsMissing
from models.profiles import Profile, Repository

BASE, CONTROLNET = "base", "controlnet"
_BASE_FILES = (
    "transformer/*",
    "vae/*",
    "text_encoder/*",
    "text_encoder_2/*",
    "tokenizer/*",
    "tokenizer_2/*",
    "scheduler/*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFolders:
    """Where a profile's weights lie. base has FLUX's subfolders; controlnet is the ControlNet itself."""

    base: Path
    controlnet: Path


def find_weights(profile: Profile, models_dir: Path) -> WeightFolders:
    """Find the weights of a profile that has any to download. Raises WeightsMissing."""
    if profile.base is None or profile.controlnet is None:
        raise ValueError(f"{profile.name} is built here, not found")
    own = models_dir / profile.name
    if (own / BASE).is_dir() and (own / CONTROLNET).is_dir():
        return WeightFolders(base=own / BASE, controlnet=own / CONTROLNET)
    return WeightFolders(
        base=_in_hub_cache(profile, profile.base, own, _BASE_FILES),
        controlnet=_in_hub_cache(profile, profile.controlnet, own, None),
    )


def _in_hub_cache(profile: Profile, repository: Repository, own: Path, files: tuple[str, ...] | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repository.repo,
            revision=repository.revision,
            allow_patterns=list(files) if files else None,
            local_files_only=True,
        )
    except LocalEntryNotFoundError as e:
        raise WeightsMissing(profile.name, f"neither {own} nor the Hugging Face cache has {repository.repo}") from e
    return Path(found)
