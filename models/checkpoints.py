"""The files of one network, found and read as far as their headers: what is there, whole, and of the right kind.

Three forms: the libraries' own name, the same in shards behind an index, or one safetensors file of any name, for the
transformer in Black Forest Labs' layout too. Torch-free: a folder is judged in milliseconds and in the same words by
`posegen models verify` and by a worker that loads it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models.bfl_layout import PREFIX, bfl_shapes, is_bfl
from models.errors import PickleRefused, WeightsIncomplete, WeightsMissing, WrongKind, WrongShape
from models.safetensors_header import DamagedFile, TensorEntry, read_header
from models.shapes import Shape, autoencoder_shapes, clip_shapes, controlnet_shapes, t5_shapes, transformer_shapes

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_PLAIN = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network of a profile: its folder's name, the class its configuration names, and its files' name.

    single_file: it may also be one file of any name; then tensors that the network does not have tell that the file is
    something else.
    """

    name: str
    class_name: str
    stem: str
    shapes: Callable[[Mapping[str, Any]], dict[str, Shape]] = field(repr=False)
    single_file: bool = False


TRANSFORMER = Part(
    name="transformer",
    class_name="FluxTransformer2DModel",
    stem="diffusion_pytorch_model",
    shapes=transformer_shapes,
    single_file=True,
)
CONTROLNET = Part(
    name="controlnet",
    class_name="FluxControlNetModel",
    stem="diffusion_pytorch_model",
    shapes=controlnet_shapes,
    single_file=True,
)
VAE = Part(name="vae", class_name="AutoencoderKL", stem="diffusion_pytorch_model", shapes=autoencoder_shapes)
CLIP = Part(name="text_encoder", class_name="CLIPTextModel", stem="model", shapes=clip_shapes)
T5 = Part(name="text_encoder_2", class_name="T5EncoderModel", stem="model", shapes=t5_shapes)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network on disk that passed every check. files: each with the header it has."""

    part: Part
    folder: Path
    config: Mapping[str, Any]
    files: Mapping[Path, Mapping[str, TensorEntry]]

    @cached_property
    def tensors(self) -> dict[str, TensorEntry]:
        """Every tensor, by its name in the files."""
        return {name: entry for header in self.files.values() for name, entry in header.items()}

    @property
    def is_bfl(self) -> bool:
        """Whether the tensors are named in Black Forest Labs' layout."""
        return self.part is TRANSFORMER and is_bfl(self.tensors)

    @property
    def is_loose(self) -> bool:
        """Whether it is a single file that the library's own `from_pretrained` would not find."""
        names = {path.name for path in self.files}
        own = {f"{self.part.stem}.safetensors", f"{self.part.stem}.safetensors.index.json"}
        indexed = (self.folder / f"{self.part.stem}.safetensors.index.json").is_file()
        return self.is_bfl or not (indexed or names <= own) or not (self.folder / "config.json").is_file()


def open_checkpoint(
    profile: str,
    part: Part,
    folder: Path,
    *,
    derive: Callable[[Mapping[str, TensorEntry]], Mapping[str, Any]] | None = None,
    beside: tuple[Path, ...] = (),
) -> Checkpoint:
    """Find a network's files and check them against its configuration.

    derive: makes the configuration where the folder has none, from the tensors there are. beside: single files
    elsewhere that may be the network when the folder has only its configuration.
    Raises WeightsIncomplete, WeightsMissing, WrongKind, WrongShape, PickleRefused.
    """
    config: Mapping[str, Any] | None = _read_config(profile, part, folder, required=derive is None)
    headers = {path: _header(profile, path) for path in _files(profile, part, folder, beside)}
    index = folder / f"{part.stem}.safetensors.index.json"
    if index.is_file():
        _check_index(profile, index, {path.name: header for path, header in headers.items()})
    if config is None:
        merged = {name: entry for header in headers.values() for name, entry in header.items()}
        config = derive(merged) if derive is not None else {}
    checkpoint = Checkpoint(part=part, folder=folder, config=config, files=headers)
    _check_tensors(profile, checkpoint)
    return checkpoint


def read_json(profile: str, path: Path) -> dict[str, Any]:
    """Return the object in a file. Raises WeightsIncomplete."""
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        raise WeightsIncomplete(profile, f"{path} is missing") from None
    except OSError as e:
        raise WeightsIncomplete(profile, f"{path} cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise WeightsIncomplete(profile, f"{path} is not JSON") from e
    if not isinstance(told, dict):
        raise WeightsIncomplete(profile, f"{path} is not a JSON object")
    return told


def is_interrupted(folder: Path) -> bool:
    """Tell whether a download into a folder was broken off."""
    return any(next(folder.glob(pattern), None) for pattern in ("*.incomplete", ".cache/**/*.incomplete"))


def _read_config(profile: str, part: Part, folder: Path, *, required: bool) -> dict[str, Any] | None:
    path = folder / "config.json"
    if not required and not path.exists():
        return None
    config = read_json(profile, path)
    named = config.get("_class_name") or next(iter(config.get("architectures") or ()), None)
    if named != part.class_name:
        raise WrongKind(profile, str(path), f"it configures {named}, not {part.class_name}")
    return config


def _files(profile: str, part: Part, folder: Path, beside: tuple[Path, ...]) -> list[Path]:
    index = folder / f"{part.stem}.safetensors.index.json"
    if index.is_file():
        mapped = read_json(profile, index).get("weight_map")
        if not isinstance(mapped, dict) or not mapped:
            raise WeightsIncomplete(profile, f"{index} names no tensors")
        return [folder / shard for shard in sorted(set(mapped.values()))]
    own = folder / f"{part.stem}.safetensors"
    if own.exists():
        return [own]
    for loose in (sorted(folder.glob("*.safetensors")), list(beside)) if part.single_file else ():
        if len(loose) > 1:
            named = " and ".join(path.name for path in loose[:2])
            raise WrongKind(profile, str(loose[0].parent), f"{named} may both be the {part.name}, keep one of them")
        if loose:
            return loose
    raise _absent(profile, part, folder)


def _absent(profile: str, part: Part, folder: Path) -> Exception:
    if own_link := next((path for path in folder.glob("*.safetensors*") if path.is_symlink()), None):
        return WeightsIncomplete(profile, f"{own_link} is a link to nothing")
    if is_interrupted(folder):
        return WeightsIncomplete(profile, f"a download into {folder} was broken off")
    pickle = next((path for path in sorted(folder.glob("*")) if path.suffix in PICKLES), None)
    if pickle is not None:
        return PickleRefused(str(pickle))
    if folder.is_dir():
        return WeightsIncomplete(profile, f"{folder} has no .safetensors file")
    return WeightsMissing(profile, f"there is no {folder}")


def _header(profile: str, path: Path) -> dict[str, TensorEntry]:
    try:
        return read_header(path)
    except DamagedFile as e:
        raise WeightsIncomplete(profile, f"{path}: {e}") from e


def _check_index(profile: str, index: Path, headers: Mapping[str, Mapping[str, TensorEntry]]) -> None:
    for tensor, shard in read_json(profile, index)["weight_map"].items():
        if tensor not in headers[shard]:
            raise WeightsIncomplete(profile, f"{index.parent / shard} lacks {tensor}, which {index.name} says it has")


def _check_tensors(profile: str, checkpoint: Checkpoint) -> None:
    part, where = checkpoint.part, str(checkpoint.folder)
    if len(checkpoint.files) == 1:
        where = str(next(iter(checkpoint.files)))
    try:
        wanted = part.shapes(checkpoint.config)
        if checkpoint.is_bfl:
            wanted = bfl_shapes(checkpoint.config, wanted)
    except KeyError as e:
        raise WeightsIncomplete(profile, f"{checkpoint.folder / 'config.json'} does not say {e.args[0]}") from e
    except (TypeError, ValueError) as e:
        raise WrongKind(profile, where, f"its configuration is not one that is drawn with ({e})") from e
    tensors = checkpoint.tensors
    found = {plain: tensors[name] for plain, name in plain_names(part, tensors).items()}
    if not wanted.keys() & found.keys():
        raise WrongKind(profile, where, f"it holds no tensor of a {part.class_name}")
    if part is TRANSFORMER and not any("guidance" in name for name in found):
        raise WrongKind(profile, where, "it takes no guidance, as FLUX.1-schnell does; the dev variant is needed")
    for name, shape in wanted.items():
        entry = found.get(name)
        if entry is None:
            raise WeightsIncomplete(profile, f"{where} lacks {name}")
        if entry.dtype not in _PLAIN:
            raise WrongKind(profile, where, f"{name} is stored as {entry.dtype}: it was quantised, get it in bf16")
        if entry.shape != shape:
            raise WrongShape(where, name, entry.shape, shape)
    extra = next((name for name in found if name not in wanted), None) if part.single_file else None
    if extra is not None:
        raise WrongKind(profile, where, f"it also holds {extra}, which a {part.class_name} does not have")


def plain_names(part: Part, names: Iterable[str]) -> dict[str, str]:
    """Return what the part's tensors are called in a file, by their plain names: some files put a word before each."""
    stored = list(names)
    if part is TRANSFORMER and any(name.startswith(PREFIX) for name in stored):
        return {name.removeprefix(PREFIX): name for name in stored if name.startswith(PREFIX)}
    if part is CLIP:
        return {name.removeprefix("text_model."): name for name in stored}
    if part is T5 and "shared.weight" not in stored:
        return {name.replace("encoder.embed_tokens.", "shared."): name for name in stored}
    return {name: name for name in stored}
