"""Which view an engine gets: TAEF1 where its weights are on disk, else the linear map.

TAEF1 is diffusers' AutoencoderTiny for FLUX's latents (10 MB). It is looked for in `<cache_dir>/<profile>/preview/` and
in the Hugging Face cache; nothing is downloaded. Previews are never a reason not to draw: weights that cannot be used
are told of in the view's note, and the linear map takes their place.
"""

from pathlib import Path

from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from safetensors import SafetensorError
from torch import nn

from models.errors import WeightsMissing
from models.library_noise import quiet_libraries
from models.previews import AutoencoderView, View
from models.previews_fit import fit_linear
from models.profiles import Profile
from models.runner import FluxRunner
from models.weights import PREVIEW, find_part


def load_view(runner: FluxRunner, cache_dir: Path) -> View:
    """Return the best view there is for a runner's latents. Raises what torch raises for lack of memory."""
    folder = _find(runner.profile, cache_dir)
    if folder is None:
        return fit_linear(runner)
    try:
        return AutoencoderView(_read(folder, runner))
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        return fit_linear(runner, note=f"{folder}: {str(e).splitlines()[0]}")


def _find(profile: Profile, cache_dir: Path) -> Path | None:
    if profile.preview is None:
        return None
    try:
        return find_part(profile, PREVIEW, cache_dir)
    except WeightsMissing:
        return None


def _read(folder: Path, runner: FluxRunner) -> nn.Module:
    """Read the network. Raises ValueError, OSError or SafetensorError when it is not one for these latents."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError("config.json is missing")  # diffusers would go on with its defaults
    with quiet_libraries():
        network, told = AutoencoderTiny.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, torch_dtype=runner.dtype
        )
    if told["missing_keys"]:
        raise ValueError(f"no weights for {sorted(told['missing_keys'])[0]}")
    if network.config.latent_channels != runner.channels:
        raise ValueError(f"made for {network.config.latent_channels} latent channels, not {runner.channels}")
    read: nn.Module = network.eval().to(runner.device)
    return read
