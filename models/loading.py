"""From a profile's name to a running engine: finds or builds the weights and puts them on a device.

Weights are read with the libraries' own `from_pretrained`, from the folders that `models.weights` finds or from the
built-in model's. Nothing is downloaded here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from safetensors import SafetensorError
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.t5.tokenization_t5 import T5Tokenizer

from models.adapters import Adapters
from models.checking import CheckedWeights, check_weights
from models.checkpoints import Checkpoint
from models.components import FluxComponents
from models.devices import faults_named, resolve_device
from models.errors import OutOfMemory, WeightsMissing, WrongKind
from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.loras import LORAS
from models.modulation import UnknownModulation, take_out
from models.previews import View
from models.previews_taef1 import load_view
from models.profiles import Profile, Sources, sourced
from models.profiles import profile as find_profile
from models.reading import read_network
from models.runner import FluxRunner
from models.schedule import Schedule
from models.stepping import DoesNotFit
from models.tiny import tiny_folder
from models.weights import BASE, CONTROLNET, WeightFolders, find_weights


def load_engine(
    profile: str,
    device: str = "auto",
    *,
    cache_dir: Path,
    max_batch: int | None = None,
    previews: bool = False,
    sources: Sources | None = None,
    modulation: Literal["live", "tables"] = "live",
    loras_dir: Path | None = None,
) -> InflightEngine:
    """Load a profile onto a device. max_batch None: what the profile says for that kind of device.
    previews: be able to make some, which takes up to a second more here. sources: where weights come from instead.
    modulation: computed in every step, or once a picture by weights that stay on the host (see models.modulation).
    loras_dir: where LoRAs lie, None: `loras` beside the weights.

    On a CPU it sets torch's threads for the whole process as the profile says. Raises UnknownProfile, DeviceMissing,
    WeightsMissing, WeightsUnfit, OutOfMemory (the weights do not fit), CardFailed.
    """
    known = sourced(find_profile(profile), sources or {})
    target = resolve_device(device)
    if target.type == "cpu" and known.cpu_threads is not None:
        torch.set_num_threads(known.cpu_threads)
    folders = weight_folders(known, cache_dir)
    components = load_components(folders, target, known, with_tables=modulation == "tables")
    default_batch = known.cuda_max_batch if target.type == "cuda" else known.cpu_max_batch
    runner = FluxRunner(known, components)
    view = _view(runner, cache_dir) if previews else None
    adapters = Adapters(
        components.transformer, loras_dir or cache_dir / LORAS, precomputed=components.modulation is not None
    )
    return InflightEngine(runner, default_batch if max_batch is None else max_batch, view, adapters=adapters)


def _view(runner: FluxRunner, cache_dir: Path) -> View:
    try:
        with faults_named(runner.device):
            return load_view(runner, cache_dir)
    except DoesNotFit as e:
        raise OutOfMemory(*runner.profile.default_size) from e


def weight_folders(profile: Profile, cache_dir: Path) -> WeightFolders:
    """Find a profile's weights on this machine, building the built-in model's. Raises WeightsMissing."""
    if profile.base is not None:
        return find_weights(profile, cache_dir)
    try:
        built = tiny_folder(cache_dir)
    except OSError as e:
        raise WeightsMissing(profile.name, f"they cannot be built in {cache_dir}: {e.strerror}") from e
    return WeightFolders(base=built / BASE, controlnet=built / CONTROLNET)


def load_components(
    folders: WeightFolders, device: torch.device, profile: Profile, *, with_tables: bool = False
) -> FluxComponents:
    """Read every network and tokenizer from disk: bf16 on a card, fp32 on the CPU. with_tables: without modulation.

    Raises WeightsMissing when a file is missing or unreadable, WeightsUnfit for other weights than the profile's,
    OutOfMemory when the card is too small.
    """
    checked = check_weights(profile, folders)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        with quiet_libraries(), faults_named(device):
            return _read_components(checked, folders.base, device, dtype, with_tables=with_tables)
    except DoesNotFit as e:
        raise OutOfMemory(*profile.default_size) from e
    except UnknownModulation as e:
        raise WrongKind(profile.name, f"{folders.base} or {folders.controlnet}", str(e)) from e
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        raise WeightsMissing(profile.name, f"{folders.base}: {str(e).splitlines()[0]}") from e


def _read_components(
    checked: CheckedWeights, base: Path, device: torch.device, dtype: torch.dtype, *, with_tables: bool
) -> FluxComponents:
    def diffusers(kind: Any, checkpoint: Checkpoint) -> Any:
        if checkpoint.is_loose:
            return read_network(kind, checkpoint, dtype=dtype)
        return _read_network(kind, checkpoint.folder, torch_dtype=dtype)

    def transformers(kind: Any, checkpoint: Checkpoint) -> Any:
        return _read_network(kind, checkpoint.folder, dtype=dtype).to(device)

    def tokenizer(kind: Any, folder: Path) -> Callable[..., Any]:
        read: Callable[..., Any] = kind.from_pretrained(folder, local_files_only=True)
        return read

    transformer = diffusers(FluxTransformer2DModel, checked.transformer)
    controlnet = diffusers(FluxControlNetModel, checked.controlnet)
    # Before they move to a card that may be too small for the whole.
    modulation = (take_out(transformer, device), take_out(controlnet, device)) if with_tables else None
    return FluxComponents(
        transformer=transformer.to(device),
        controlnet=controlnet.to(device),
        modulation=modulation,
        vae=_suited(diffusers(AutoencoderKL, checked.vae).to(device), device),
        text_encoder=transformers(CLIPTextModel, checked.text_encoder),
        text_encoder_2=transformers(T5EncoderModel, checked.text_encoder_2),
        tokenizer=tokenizer(CLIPTokenizer, base / "tokenizer"),
        tokenizer_2=tokenizer(T5Tokenizer, base / "tokenizer_2"),
        schedule=Schedule.from_config(json.loads((base / "scheduler" / "scheduler_config.json").read_text())),
        device=device,
        dtype=dtype,
        precise_dtype=torch.float32 if device.type == "cuda" else torch.float64,
    )


def _suited(vae: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        # One picture at a time: four together take 1.5 times as long each, for want of cache. Channels last would be
        # faster still, but torch's group norm is then wrong by whole units where the mean is large.
        vae.enable_slicing()
    return vae


def _read_network(kind: Any, folder: Path, **options: Any) -> Any:
    # Both libraries fall back to pickles, and go on with random weights where tensors are missing.
    network, told = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
    )
    if told["missing_keys"]:
        raise ValueError(f"{folder} has no weights for {sorted(told['missing_keys'])[0]}")
    return network.eval()
