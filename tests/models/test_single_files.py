"""Every form in which FLUX's weights are passed on loads into the same networks and draws the same picture."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.checkpoints import (
    CONTROLNET,
    TRANSFORMER,
    bfl_tensors,
    change,
    configure,
    fill_folder,
    fill_hub_cache,
    shard,
)

from models.loading import load_engine
from models.profiles import FLUX1_DEV, FLUX1_DEV_UNIONPRO, parse_sources, sourced
from models.tiny import tiny_folder
from models.weights import find_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(models_dir: Path, tmp_path: Path) -> Path:
    """A folder with "FLUX.1-dev" in it."""
    return fill_folder(tiny_folder(models_dir), tmp_path)


def weights_of(models_dir: Path, profile: str = "flux1-dev") -> dict[str, torch.Tensor]:
    parts = load_engine(profile, "cpu", cache_dir=models_dir).runner.parts
    named = {"transformer": parts.transformer, "controlnet": parts.controlnet}
    return {
        f"{part}.{name}": tensor for part, network in named.items() for name, tensor in network.state_dict().items()
    }


def into_bfl(own: Path, name: str = "base/transformer/flux1-dev.safetensors", **options: Any) -> None:
    tensors = bfl_tensors(own / "base/transformer", **options)
    (own / TRANSFORMER).unlink()
    save_file(tensors, own / name)


def into_bfl_with_others_beside(own: Path) -> None:
    tensors = bfl_tensors(own / "base/transformer", prefix="model.diffusion_model.")
    (own / TRANSFORMER).unlink()
    save_file({"a_vae.weight": torch.zeros(3), **tensors}, own / "base/transformer/all-in-one.safetensors")


def into_the_base_folder(own: Path) -> None:
    into_bfl(own, "base/flux1-dev.safetensors")
    (own / "base/vae/diffusion_pytorch_model.safetensors").read_bytes()
    save_file({"decoder.conv_in.weight": torch.zeros(1)}, own / "base/ae.safetensors")


def rename_both(own: Path) -> None:
    (own / TRANSFORMER).rename(own / "base/transformer/my-flux.safetensors")
    (own / CONTROLNET).rename(own / "controlnet/union.safetensors")


def forget_the_controlnets_configuration(own: Path) -> None:
    (own / "controlnet/config.json").unlink()


def shard_both(own: Path) -> None:
    shard(own / TRANSFORMER)
    shard(own / CONTROLNET, 3)


@pytest.mark.parametrize(
    "lay_out",
    [
        into_bfl,
        into_bfl_with_others_beside,
        into_the_base_folder,
        rename_both,
        forget_the_controlnets_configuration,
        shard_both,
    ],
)
def test_every_layout_is_the_same_network(own: Path, models_dir: Path, lay_out: Callable[[Path], object]) -> None:
    lay_out(own)
    read, wanted = weights_of(own.parent), weights_of(models_dir, "tiny")
    assert read.keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in read.items())


def test_a_network_from_a_single_file_is_configured_like_the_folders(own: Path) -> None:
    before = load_engine("flux1-dev", "cpu", cache_dir=own.parent).runner.parts
    into_bfl(own)
    forget_the_controlnets_configuration(own)
    after = load_engine("flux1-dev", "cpu", cache_dir=own.parent).runner.parts
    for name in ("transformer", "controlnet"):
        told = [dict(getattr(parts, name).config) for parts in (before, after)]
        for config in told:
            for own_note in ("_name_or_path", "_diffusers_version"):
                config.pop(own_note, None)
            config["axes_dims_rope"] = list(config["axes_dims_rope"])
        assert told[0] == told[1]
        assert not getattr(after, name).training


def test_a_file_in_half_precision_is_widened_on_a_cpu(own: Path) -> None:
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in bfl_tensors(own / "base/transformer").items()}
    (own / TRANSFORMER).unlink()
    save_file(tensors, own / "base/transformer/flux1-dev-bf16.safetensors")
    assert {tensor.dtype for tensor in weights_of(own.parent).values()} == {torch.float32}


def draw(models_dir: Path, profile: str, drain: Any, ask: Any) -> np.ndarray[Any, Any]:
    engine = load_engine(profile, "cpu", cache_dir=models_dir)
    engine.submit(
        ask("a", width=512, height=512, steps=1, control_end=1.0, control=Image.new("RGB", (512, 512), "red"))
    )
    pixels: np.ndarray[Any, Any] = drain(engine)[0]["a"].pixels
    return pixels


def test_the_hub_cache_draws_what_the_folder_draws(
    own: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Any, drain: Any
) -> None:
    cache = tmp_path / "hub"
    fill_hub_cache(tiny_folder(models_dir), cache)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    from_cache = draw(tmp_path / "nothing", "flux1-dev", drain, ask)
    assert np.array_equal(from_cache, draw(own.parent, "flux1-dev", drain, ask))


def test_a_union_controlnet_is_told_that_it_follows_a_pose(
    models_dir: Path, tmp_path: Path, ask: Any, drain: Any
) -> None:
    own = fill_folder(tiny_folder(models_dir), tmp_path, "flux1-dev-unionpro")
    configure(own / "controlnet/config.json", num_mode=10)

    def embed(modes: torch.Tensor) -> np.ndarray[Any, Any]:
        change(own / CONTROLNET, lambda tensors: tensors.update({"controlnet_mode_embedder.weight": modes}))
        return draw(tmp_path, "flux1-dev-unionpro", drain, ask)

    modes = torch.randn(10, 192, generator=torch.Generator().manual_seed(1))
    drawn = embed(modes)
    others = modes.clone()
    others[[mode for mode in range(10) if mode != FLUX1_DEV_UNIONPRO.control_mode]] = 0
    assert np.array_equal(embed(others), drawn)
    others[FLUX1_DEV_UNIONPRO.control_mode or 0] = 0
    assert not np.array_equal(embed(others), drawn)


OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("reached out:", event, arguments, file=sys.stderr)
        sys.exit(9)
sys.addaudithook(refuse)
from pathlib import Path
from models.loading import load_engine
for models_dir in sys.argv[1:]:
    engine = load_engine("flux1-dev", "cpu", cache_dir=Path(models_dir), previews=True)
    print(type(engine.runner.parts.transformer).__name__)
"""


def test_a_load_never_reaches_out(own: Path, models_dir: Path, tmp_path: Path) -> None:
    single = fill_folder(tiny_folder(models_dir), tmp_path / "single")
    into_bfl(single)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(own.parent), str(single.parent)],
        cwd=ROOT,
        env={"HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.split(), done.returncode) == (["FluxTransformer2DModel"] * 2, 0), done.stderr


def test_weights_may_come_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models_dir: Path) -> None:
    commit = "0123456789" * 4
    sources = parse_sources(
        f"flux1-dev.controlnet=studio/own-net@{commit}, flux1-dev.base=@def456, flux1-dev-unionpro.controlnet=i/u"
    )
    moved = sourced(FLUX1_DEV, sources)
    assert (str(moved.controlnet), str(moved.base)) == (
        f"studio/own-net@{commit}",
        "black-forest-labs/FLUX.1-dev@def456",
    )
    assert moved.preview == FLUX1_DEV.preview
    snapshot = tmp_path / "models--studio--own-net/snapshots" / commit
    snapshot.mkdir(parents=True)
    (tmp_path / "flux1-dev/base").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert find_weights(moved, tmp_path).controlnet == snapshot


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flux1-dev=x/y", "is not like"),
        ("flux1-dev.base=", "is not like"),
        ("flux1-dev.base=no-owner", "is not like"),
        ("tiny.base=x/y", "base is downloaded for flux1-dev and flux1-dev-unionpro"),
        ("flux9.base=x/y", "base is downloaded for"),
    ],
)
def test_a_source_that_makes_no_sense_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_sources(text)


def test_tensors_of_a_single_file_do_not_share_memory(own: Path) -> None:
    into_bfl(own)
    tensors = [tensor for name, tensor in weights_of(own.parent).items() if name.startswith("transformer.")]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)
    assert load_file(own / "base/transformer/flux1-dev.safetensors")
