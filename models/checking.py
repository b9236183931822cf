"""Whether a profile's weights are all here, whole, and of one model: every check that needs no torch, in one place.

`posegen models verify` and every load go through it, so both say the same of a folder. Between networks it compares
what they hand to each other: widths of text, latents and blocks.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from models.checkpoints import (
    CLIP,
    CONTROLNET,
    T5,
    TRANSFORMER,
    VAE,
    Checkpoint,
    Part,
    is_interrupted,
    open_checkpoint,
    read_json,
)
from models.errors import ModelsError, WeightsIncomplete, WrongKind
from models.footprints import Footprint, footprint_of
from models.profiles import Profile
from models.safetensors_header import DamagedFile, TensorEntry, read_header
from models.weights import INDEX, TOKENIZERS, WeightFolders

_PACKED = 4
"""FLUX packs 2x2 latents into a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedWeights:
    """The networks of a profile, each found and checked."""

    transformer: Checkpoint
    controlnet: Checkpoint
    vae: Checkpoint
    text_encoder: Checkpoint
    text_encoder_2: Checkpoint

    def each(self) -> Iterator[Checkpoint]:
        """Go through all of them."""
        return (getattr(self, part.name) for part in fields(self))

    def footprint(self) -> Footprint:
        """Work out what they take, for a memory plan."""
        return footprint_of(**{part.name: getattr(self, part.name).config for part in fields(self)})


def check_weights(profile: Profile, folders: WeightFolders) -> CheckedWeights:
    """Check everything that is known without reading tensors.

    Raises the first fault: WeightsIncomplete, WeightsMissing, WrongKind, WrongShape, PickleRefused.
    """
    name, base = profile.name, folders.base
    _check_family(profile, base)
    transformer = open_checkpoint(name, TRANSFORMER, base / "transformer", beside=_loose_transformers(base))
    checked = CheckedWeights(
        transformer=transformer,
        controlnet=open_checkpoint(
            name,
            CONTROLNET,
            folders.controlnet,
            derive=lambda tensors: _controlnet_config(transformer.config, tensors),
        ),
        vae=open_checkpoint(name, VAE, base / "vae"),
        text_encoder=open_checkpoint(name, CLIP, base / "text_encoder"),
        text_encoder_2=open_checkpoint(name, T5, base / "text_encoder_2"),
    )
    for tokenizer, files in TOKENIZERS.items():
        _check_tokenizer(profile, base / tokenizer, files)
    read_json(name, base / "scheduler" / "scheduler_config.json")
    _check_fit(profile, folders, checked)
    return checked


def faults(profile: Profile, folders: WeightFolders) -> list[ModelsError]:
    """Return what `check_weights` would raise; empty when all is well."""
    try:
        check_weights(profile, folders)
    except ModelsError as e:
        return [e]
    return []


def _check_family(profile: Profile, base: Path) -> None:
    """Tell a folder of another pipeline at once, by its own index or by what it has in place of a transformer."""
    index = base / INDEX
    if index.is_file():
        named = str(read_json(profile.name, index).get("_class_name", ""))
        if not named.startswith("Flux"):
            raise WrongKind(profile.name, str(base), f"it is a {named}, FLUX.1-dev is needed")
    if (base / "unet").is_dir() and not (base / "transformer").is_dir():
        raise WrongKind(profile.name, str(base), "it has a unet, as Stable Diffusion has; FLUX.1-dev is needed")


def _loose_transformers(base: Path) -> tuple[Path, ...]:
    """Return the single files in the base folder that are a FLUX transformer; others, such as ae.safetensors, are not.

    FLUX.1-dev's own repository has both forms; the one in `transformer/` is then taken.
    """
    return tuple(path for path in sorted(base.glob("*.safetensors")) if _is_transformer(path))


def _is_transformer(path: Path) -> bool:
    try:
        header = read_header(path)
    except DamagedFile:
        return True  # then it is named by the check of its header
    return any(re.search(r"(^|\.)(double_blocks|transformer_blocks)\.0\.", name) for name in header)


def _controlnet_config(transformer: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> dict[str, Any]:
    """Make a ControlNet's configuration from its tensors and the transformer's: a single file comes without one."""
    modes = tensors.get("controlnet_mode_embedder.weight")
    alike = ("patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "axes_dims_rope")
    return {
        **{name: transformer[name] for name in (*alike, "joint_attention_dim", "pooled_projection_dim")},
        "_class_name": CONTROLNET.class_name,
        "num_layers": _blocks(tensors, "transformer_blocks"),
        "num_single_layers": _blocks(tensors, "single_transformer_blocks"),
        "guidance_embeds": any(".guidance_embedder." in name for name in tensors),
        "num_mode": None if modes is None else modes.shape[0],
        "conditioning_embedding_channels": None,
    }


def _blocks(tensors: Mapping[str, TensorEntry], kind: str) -> int:
    numbers = (re.match(rf"{kind}\.(\d+)\.", name) for name in tensors)
    return max((int(number[1]) + 1 for number in numbers if number), default=0)


def _check_tokenizer(profile: Profile, folder: Path, files: tuple[tuple[str, ...], ...]) -> None:
    if any(all((folder / file).is_file() for file in together) for together in files):
        return
    broken = "a download was broken off" if is_interrupted(folder) else f"it needs {' and '.join(files[-1])}"
    raise WeightsIncomplete(profile.name, f"{folder}: {broken}")


def _check_fit(profile: Profile, folders: WeightFolders, checked: CheckedWeights) -> None:
    transformer, controlnet = checked.transformer.config, checked.controlnet.config
    where = str(folders.controlnet)
    for side in ("in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim"):
        if controlnet[side] != transformer[side]:
            raise WrongKind(
                profile.name, where, f"its {side} is {controlnet[side]}, the transformer's is {transformer[side]}"
            )
    modes = controlnet.get("num_mode")
    if profile.control_mode is None and modes is not None:
        raise WrongKind(profile.name, where, "it wants to be told a control mode; use the profile flux1-dev-unionpro")
    if profile.control_mode is not None and (modes is None or modes <= profile.control_mode):
        raise WrongKind(
            profile.name, where, f"it has no control mode {profile.control_mode}; use the profile flux1-dev"
        )
    for part, (is_wide, needed) in {
        VAE: (_PACKED * checked.vae.config["latent_channels"], transformer["in_channels"]),
        CLIP: (checked.text_encoder.config["hidden_size"], transformer["pooled_projection_dim"]),
        T5: (checked.text_encoder_2.config["d_model"], transformer["joint_attention_dim"]),
    }.items():
        if is_wide != needed:
            raise WrongKind(profile.name, str(_folder(folders, part)), f"it gives {is_wide} numbers, not {needed}")


def _folder(folders: WeightFolders, part: Part) -> Path:
    return folders.base / part.name
