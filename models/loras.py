"""LoRAs by name: small sets of changes to the transformer's layers, each a safetensors file in one folder.

Torch-free: the API lists and refuses by what stands here, a worker applies with `models.adapters`. Pictures may share a
forward only with the very same LoRAs at the same strengths, because a forward has one set of weights.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import LoraMissing, LorasRefused, LoraUnfit, StrengthRefused
from models.safetensors_header import DamagedFile, read_header

LORAS = "loras"
"""The folder's name beside the profiles', unless a setting says otherwise."""
MOST_LORAS = 4
HIGHEST_STRENGTH = 2.0

_NAME = re.compile(r"\w[\w .+-]{0,99}")
_TEXT = ("text_encoder", "lora_te", "text_model", "lycoris_te")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """One LoRA in use. strength: 0 (as if it were not there) to HIGHEST_STRENGTH; 1 is what it was trained for."""

    name: str
    strength: float = 1.0


def shelf(folder: Path) -> dict[str, Path]:
    """Return the LoRAs in a folder by name, which is the file's without .safetensors; empty without the folder."""
    try:
        files = sorted(folder.glob("*.safetensors"))
    except OSError:
        return {}
    return {path.stem: path for path in files if path.is_file() and _NAME.fullmatch(path.stem)}


def applied(loras: Iterable[Lora]) -> tuple[Lora, ...]:
    """Return what has an effect, in one order: LoRAs add up, so two orders that mean the same may share a forward."""
    return tuple(sorted((lora for lora in loras if lora.strength != 0), key=lambda lora: lora.name))


def check_loras(loras: tuple[Lora, ...]) -> None:
    """Refuse a set that is out of range, wherever its LoRAs lie. Raises LorasRefused, StrengthRefused."""
    if len(loras) > MOST_LORAS:
        raise LorasRefused(f"there are {len(loras)}, at most {MOST_LORAS} go together")
    names = [lora.name for lora in loras]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise LorasRefused(f"{twice!r} is there twice")
    for lora in loras:
        if not 0 <= lora.strength <= HIGHEST_STRENGTH:  # also false for NaN
            raise StrengthRefused(f"the strength of {lora.name!r}", lora.strength, 0, HIGHEST_STRENGTH)


def find_loras(loras: Iterable[Lora], there: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of these LoRAs, each looked into as far as its header. Raises LoraMissing, LoraUnfit."""
    found = {}
    for lora in loras:
        if lora.name not in there:
            raise LoraMissing(lora.name, tuple(there))
        _check_header(lora.name, there[lora.name])
        found[lora.name] = there[lora.name]
    return found


def _check_header(name: str, path: Path) -> None:
    try:
        tensors = read_header(path)
    except DamagedFile as e:
        raise LoraUnfit(name, f"the file is damaged, {e}") from e
    if not any("lora" in tensor for tensor in tensors):
        raise LoraUnfit(name, "it holds no LoRA")
    if any(tensor.startswith(_TEXT) for tensor in tensors):
        raise LoraUnfit(name, "it changes a text encoder too; export it for the transformer alone")
    if any("dora_scale" in tensor or ".lokr_" in tensor or ".hada_" in tensor for tensor in tensors):
        raise LoraUnfit(name, "it is a DoRA, LoKr or LoHa; plain LoRAs are applied here")
