"""What a memory plan knows of the networks is what the libraries' own classes have, and need while they run.

FLUX.1-dev's classes are built at full width without memory (torch's fake tensors); the bytes of living tensors are
counted at every operation.
"""

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from flux_configs import CLIP, FLUX, T5, UNION_PRO, UNION_PRO_2, VAE
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel

from models.footprints import Footprint, footprint_of
from models.library_noise import quiet_libraries
from models.modulation import take_out
from models.profiles import FLUX1_DEV, FLUX1_DEV_UNIONPRO, TINY, Profile
from models.tiny import tiny_folder

SIZES = [(1024, 1024), (512, 512), (768, 1344)]


def flux_with(controlnet: dict[str, Any]) -> Footprint:
    return footprint_of(transformer=FLUX, controlnet=controlnet, vae=VAE, text_encoder=CLIP, text_encoder_2=T5)


@pytest.mark.parametrize(
    ("profile", "controlnet"), [(FLUX1_DEV, UNION_PRO_2), (FLUX1_DEV_UNIONPRO, UNION_PRO)], ids=["dev", "unionpro"]
)
def test_the_footprints_of_flux_are_those_of_its_configurations(profile: Profile, controlnet: dict[str, Any]) -> None:
    assert profile.footprint == flux_with(controlnet)


def test_the_footprint_of_the_built_in_model_is_that_of_its_files(models_dir: Path) -> None:
    folder = tiny_folder(models_dir)
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2")
    configs = {part: json.loads((folder / "base" / part / "config.json").read_text()) for part in parts}
    controlnet = json.loads((folder / "controlnet" / "config.json").read_text())
    assert TINY.footprint == footprint_of(controlnet=controlnet, **configs)


@pytest.mark.parametrize("kind", [FluxTransformer2DModel, FluxControlNetModel])
def test_tables_take_as_many_parameters_off_the_card_as_planned(kind: Any) -> None:
    with torch.device("meta"), quiet_libraries():
        network = kind.from_config(FLUX if kind is FluxTransformer2DModel else UNION_PRO)
    footprint = FLUX1_DEV_UNIONPRO.footprint
    size = footprint.transformer if kind is FluxTransformer2DModel else footprint.controlnet
    taken = take_out(network, torch.device("cpu"))
    assert taken.parameters == size.modulation
    assert taken.width == size.modulation // (footprint.width + 1)
    assert sum(tensor.numel() for tensor in network.parameters()) <= size.parameters - size.modulation


class Living(TorchDispatchMode):
    """Counts the bytes of the tensors that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, do: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = do(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        if storage._cdata in self._seen:
            return
        taken = storage.nbytes()
        self._seen.add(storage._cdata)
        self.now += taken
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, taken)

    def _forget(self, key: int, taken: int) -> None:
        self._seen.discard(key)
        self.now -= taken


@contextmanager
def without_memory() -> Iterator[None]:
    """Make bf16 networks and tensors that have shapes and no bytes."""
    with quiet_libraries(), torch.inference_mode(), FakeTensorMode():
        torch.set_default_dtype(torch.bfloat16)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def forward_peak(controlnet: dict[str, Any], size: tuple[int, int]) -> int:
    tokens = size[0] * size[1] // 256
    with without_memory():
        guide = FluxControlNetModel.from_config(controlnet)
        # What a block leaves behind is freed before the next one: two of each kind show the worst moment.
        transformer = FluxTransformer2DModel.from_config({**FLUX, "num_layers": 2, "num_single_layers": 2})
        shared = {
            "hidden_states": torch.empty(1, tokens, 64),
            "timestep": torch.empty(1),
            "guidance": torch.empty(1),
            "pooled_projections": torch.empty(1, 768),
            "encoder_hidden_states": torch.empty(1, 512, 4096),
            "txt_ids": torch.empty(512, 3),
            "img_ids": torch.empty(tokens, 3),
            "return_dict": False,
        }
        picture, strength = torch.empty(1, tokens, 64), torch.empty(1, 1, 1)
        mode = None if controlnet["num_mode"] is None else torch.zeros(1, 1, dtype=torch.long)
        with Living() as living:
            double, single = guide(controlnet_cond=picture, controlnet_mode=mode, conditioning_scale=strength, **shared)
            transformer(controlnet_block_samples=double, controlnet_single_block_samples=single, **shared)
        return living.peak


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("controlnet", [UNION_PRO_2, UNION_PRO], ids=["dev", "unionpro"])
def test_a_forward_needs_what_is_planned_and_little_less(size: tuple[int, int], controlnet: dict[str, Any]) -> None:
    planned = flux_with(controlnet).forward_bytes(size, 512)
    assert 0.9 * planned <= forward_peak(controlnet, size) <= planned


@pytest.mark.parametrize("size", SIZES)
def test_the_autoencoder_needs_what_is_planned(size: tuple[int, int]) -> None:
    width, height = size
    footprint = FLUX1_DEV.footprint
    with without_memory():
        vae: Any = AutoencoderKL.from_config(VAE)
        latents, picture = torch.empty(1, 16, height // 8, width // 8), torch.empty(1, 3, height, width)
        with Living() as decoding:
            vae.decode(latents, return_dict=False)
        with Living() as encoding:
            vae.encode(picture).latent_dist.mode()
    assert decoding.peak == pytest.approx(footprint.decode_bytes(size), rel=0.02)
    assert encoding.peak == pytest.approx(footprint.encode_bytes(size), rel=0.02)


@pytest.mark.parametrize("prompts", [1, 4])
def test_prompts_need_at_most_what_is_planned(prompts: int) -> None:
    with without_memory():
        encoder = T5EncoderModel(T5Config(**{**T5, "num_layers": 2}))
        ids = torch.zeros(prompts, 512, dtype=torch.long)
        with Living() as living:
            encoder(ids)
    assert living.peak <= prompts * FLUX1_DEV.footprint.text_bytes(512)
