"""From a profile's name to a running engine: finds or builds the weights and puts them where the memory plan says.

Weights are read with the libraries' own `from_pretrained`, from the folders that `models.weights` finds or from a
built-in model's. Nothing is downloaded here. One network after the other is read and placed, and `from_pretrained`
maps its file: the host never holds more than the one on its way, and a card none of what the plan keeps off it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psutil  # type: ignore[import-untyped]
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from safetensors import SafetensorError
from torch import nn
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.t5.tokenization_t5 import T5Tokenizer

from models.adapters import Adapters
from models.attention import attention_for
from models.batch_choice import BUCKETS
from models.checking import CheckedWeights, check_weights
from models.checkpoints import Checkpoint
from models.compiling import COMPILED, compile_blocks
from models.components import FluxComponents
from models.devices import faults_named, resolve_device
from models.errors import OutOfMemory, WeightsMissing, WrongKind
from models.inflight import InflightEngine
from models.library_noise import quiet_libraries
from models.loras import LORAS
from models.mannequin import packaged_weights
from models.memory_plan import Decoding, Modulation, Offload, Plan, TextPlace, WeightPrecision, plan_memory
from models.modulation import ModulationSource, UnknownModulation, take_out
from models.placement import Guest, stream_blocks
from models.previews import View
from models.previews_taef1 import load_view
from models.profiles import Profile, Sources, sourced
from models.profiles import profile as find_profile
from models.quantising import quantise
from models.reading import read_network
from models.runner import FluxRunner
from models.schedule import Schedule
from models.stepping import DoesNotFit
from models.switches import AttentionKind, Compiling
from models.tiny import tiny_folder
from models.velocity_cache import CacheMode
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
    plan: Plan | None = None,
    cache: CacheMode = CacheMode.OFF,
    compile: Compiling = Compiling.AUTO,
    attention: AttentionKind = AttentionKind.AUTO,
) -> InflightEngine:
    """Load a profile onto a device. max_batch None: on a CPU what the profile says, on a card what warming up finds
    worth it for each size, within what memory allows.
    previews: be able to make some, which takes up to a second more here. sources: where weights come from instead.
    modulation: computed in every step, or once a picture by weights that stay on the host (see models.modulation).
    loras_dir: where LoRAs lie, None: `loras` beside the weights.
    cache: which steps are skipped (see models.velocity_cache).
    plan: what goes where, as `plan_for` gives it. None: on a card, the lossless one; on a CPU everything stays.
    compile, attention: how the networks compute (see models.switches); compiled code is kept in cache_dir.

    On a CPU it sets torch's threads for the whole process as the profile says. Raises UnknownProfile, DeviceMissing,
    WeightsMissing, WeightsUnfit, CardTooSmall, LibraryMissing, AttentionMissing, OutOfMemory (the weights do not fit),
    CardFailed.
    """
    known = sourced(find_profile(profile), sources or {})
    target = resolve_device(device)
    if target.type == "cpu" and known.cpu_threads is not None:
        torch.set_num_threads(known.cpu_threads)
    folders = weight_folders(known, cache_dir)
    if plan is None and target.type == "cuda":
        plan = _plan(known, target, folders, None)
    components = load_components(folders, target, known, with_tables=modulation == "tables", plan=plan)
    default_batch = BUCKETS[-1] if target.type == "cuda" else known.cpu_max_batch
    runner = FluxRunner(
        known,
        components,
        attention=attention_for(components, attention),
        blocks=compile_blocks(components, compile, plan, cache_dir / COMPILED),
    )
    view = _view(runner, cache_dir) if previews else None
    adapters = Adapters(
        components.transformer,
        loras_dir or cache_dir / LORAS,
        precomputed=components.modulation is not None,
        sets_aside=runner.blocks.are_there,
    )
    engine = InflightEngine(runner, default_batch if max_batch is None else max_batch, view, cache, adapters=adapters)
    if plan is not None:
        engine.follow(plan, chooses_batches=max_batch is None and target.type == "cuda")
    return engine


def plan_for(
    profile: str,
    device: str = "auto",
    *,
    cache_dir: Path,
    precision: WeightPrecision | None = None,
    sources: Sources | None = None,
) -> Plan | None:
    """Plan what goes where, by the weights on this machine and all the memory of the device; nothing is loaded.

    None on a CPU where nothing but the published weights was asked for: there is nothing to decide. Memory that others
    hold at the moment is not looked at: a worker that is being replaced may still have it. Raises UnknownProfile,
    DeviceMissing, WeightsMissing, WeightsUnfit, CardTooSmall.
    """
    known = sourced(find_profile(profile), sources or {})
    target = resolve_device(device)
    if target.type == "cpu" and precision in (None, WeightPrecision.BF16):
        return None
    return _plan(known, target, weight_folders(known, cache_dir), precision)


def _plan(profile: Profile, device: torch.device, folders: WeightFolders, precision: WeightPrecision | None) -> Plan:
    host = psutil.virtual_memory()
    return plan_memory(
        profile,
        torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else host.total,
        precision=precision,
        footprint=check_weights(profile, folders).footprint(),
        host_bytes=host.available,
    )


def _view(runner: FluxRunner, cache_dir: Path) -> View:
    try:
        with faults_named(runner.device):
            return load_view(runner, cache_dir)
    except DoesNotFit as e:
        raise OutOfMemory(*runner.profile.default_size) from e


def weight_folders(profile: Profile, cache_dir: Path) -> WeightFolders:
    """Find a profile's weights on this machine: fetched, in this package, or built now. Raises WeightsMissing."""
    if profile.base is not None:
        return find_weights(profile, cache_dir)
    if profile.packaged:
        return packaged_weights()
    try:
        built = tiny_folder(cache_dir)
    except OSError as e:
        raise WeightsMissing(profile.name, f"they cannot be built in {cache_dir}: {e.strerror}") from e
    return WeightFolders(base=built / BASE, controlnet=built / CONTROLNET)


def load_components(
    folders: WeightFolders,
    device: torch.device,
    profile: Profile,
    *,
    with_tables: bool = False,
    plan: Plan | None = None,
) -> FluxComponents:
    """Read every network and tokenizer from disk: bf16 on a card, fp32 on the CPU. with_tables: without modulation,
    whatever the plan says. plan None: everything on the device.

    Raises WeightsMissing when a file is missing or unreadable, WeightsUnfit for other weights than the profile's,
    LibraryMissing, OutOfMemory when the card is too small.
    """
    checked = check_weights(profile, folders)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        with quiet_libraries(), faults_named(device):
            return _Reading(checked, folders.base, device, dtype).components(plan, with_tables=with_tables)
    except DoesNotFit as e:
        raise OutOfMemory(*profile.default_size) from e
    except UnknownModulation as e:
        raise WrongKind(profile.name, f"{folders.base} or {folders.controlnet}", str(e)) from e
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        raise WeightsMissing(profile.name, f"{folders.base}: {str(e).splitlines()[0]}") from e


class _Reading:
    """Reads one profile's networks and puts each in its place."""

    def __init__(self, checked: CheckedWeights, base: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._checked, self._base, self._device, self._dtype = checked, base, device, dtype
        self._guests: dict[nn.Module, Guest] = {}

    def components(self, plan: Plan | None, *, with_tables: bool) -> FluxComponents:
        """Read everything; see load_components."""
        device, base = self._device, self._base
        offload = plan.offload if plan else Offload.NONE
        text = plan.text if plan else TextPlace.RESIDENT
        tables = with_tables or (plan is not None and plan.modulation is Modulation.TABLES)
        transformer, of_transformer = self._denoiser(
            FluxTransformer2DModel,
            self._checked.transformer,
            plan.precision if plan else WeightPrecision.BF16,
            tables=tables,
            streams=offload is Offload.BOTH,
        )
        controlnet, of_controlnet = self._denoiser(
            FluxControlNetModel,
            self._checked.controlnet,
            plan.controlnet_precision if plan else WeightPrecision.BF16,
            tables=tables,
            streams=offload is not Offload.NONE,
        )
        sliced = plan is not None and plan.decoding is Decoding.SLICED
        return FluxComponents(
            transformer=transformer,
            controlnet=controlnet,
            modulation=(of_transformer, of_controlnet) if of_transformer and of_controlnet else None,
            vae=_suited(self._diffusers(AutoencoderKL, self._checked.vae).to(device), device, sliced=sliced),
            text_encoder=self._clip(text),
            text_encoder_2=self._t5(text),
            guests=self._guests,
            widens=plan is None or plan.precise_retry,
            tokenizer=_tokenizer(CLIPTokenizer, base / "tokenizer"),
            tokenizer_2=_tokenizer(T5Tokenizer, base / "tokenizer_2"),
            schedule=Schedule.from_config(json.loads((base / "scheduler" / "scheduler_config.json").read_text())),
            device=device,
            dtype=self._dtype,
            precise_dtype=torch.float32 if device.type == "cuda" else torch.float64,
        )

    def _denoiser(
        self, kind: Any, checkpoint: Checkpoint, precision: WeightPrecision, *, tables: bool, streams: bool
    ) -> tuple[nn.Module, ModulationSource | None]:
        network: nn.Module = self._diffusers(kind, checkpoint)
        # Before it moves to a card that may be too small for the whole.
        modulation = take_out(network, self._device) if tables else None
        if streams:
            stream_blocks(network, self._device)
            return network, modulation
        return quantise(network, precision, self._device), modulation

    def _clip(self, place: TextPlace) -> nn.Module:
        network = self._transformers(CLIPTextModel, self._checked.text_encoder)
        return network.to(self._device) if place is TextPlace.RESIDENT else self._as_guest(network)

    def _t5(self, place: TextPlace) -> nn.Module:
        network: Any = self._transformers(T5EncoderModel, self._checked.text_encoder_2)
        match place:
            case TextPlace.RESIDENT:
                network.to(self._device)
            case TextPlace.MOVED:
                self._as_guest(network)
            case TextPlace.STREAMED:
                stream_blocks(network.encoder, self._device)  # all there is: the embedding beside it is its own
        placed: nn.Module = network
        return placed

    def _as_guest(self, network: nn.Module) -> nn.Module:
        self._guests[network] = Guest(network, self._device)
        return network

    def _diffusers(self, kind: Any, checkpoint: Checkpoint) -> Any:
        if checkpoint.is_loose:
            return read_network(kind, checkpoint, dtype=self._dtype)
        return _read_network(kind, checkpoint.folder, torch_dtype=self._dtype)

    def _transformers(self, kind: Any, checkpoint: Checkpoint) -> Any:
        return _read_network(kind, checkpoint.folder, dtype=self._dtype)


def _tokenizer(kind: Any, folder: Path) -> Callable[..., Any]:
    read: Callable[..., Any] = kind.from_pretrained(folder, local_files_only=True)
    return read


def _suited(vae: Any, device: torch.device, *, sliced: bool) -> Any:
    if sliced or device.type == "cpu":
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
