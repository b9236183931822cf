"""Whatever is wrong with weights on disk is told in one sentence, in the same words by the check and by a load."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from safetensors.torch import load_file, save_file
from support.checkpoints import CONTROLNET, TRANSFORMER, bfl_tensors, change, configure, fill_folder, shard

from models.checking import check_weights
from models.errors import ModelsError, PickleRefused, WeightsIncomplete, WeightsMissing, WrongKind, WrongShape
from models.library_noise import quiet_libraries
from models.loading import load_engine
from models.profiles import FLUX1_DEV, PROFILES
from models.safetensors_header import DamagedFile, read_header
from models.tiny import tiny_folder
from models.weights import find_weights

PROJ = "proj_out.weight"


@pytest.fixture
def own(models_dir: Path, tmp_path: Path) -> Path:
    """A folder with "FLUX.1-dev" in it, whole and well."""
    return fill_folder(tiny_folder(models_dir), tmp_path)


def check(own: Path) -> None:
    profile = PROFILES[own.name]
    check_weights(profile, find_weights(profile, own.parent))


def lose_a_shard(own: Path) -> None:
    index = shard(own / TRANSFORMER)
    next(index.parent.glob("*-00002-of-*")).unlink()


def lose_a_tensor_of_a_shard(own: Path) -> None:
    index = shard(own / TRANSFORMER)
    change(next(index.parent.glob("*-00001-of-*")), lambda tensors: tensors.popitem())


def break_off(own: Path) -> None:
    (own / TRANSFORMER).rename((own / TRANSFORMER).with_name("abc.incomplete"))


def break_off_into_a_folder(own: Path) -> None:
    hidden = own / "base/transformer/.cache/huggingface/download"
    hidden.mkdir(parents=True)
    (own / TRANSFORMER).rename(hidden / "abc.incomplete")


def leave_a_dangling_link(own: Path) -> None:
    (own / TRANSFORMER).unlink()
    (own / TRANSFORMER).symlink_to(own / "gone")


def cut_off(own: Path) -> None:
    (own / TRANSFORMER).write_bytes((own / TRANSFORMER).read_bytes()[:-1000])


def cut_off_in_the_header(own: Path) -> None:
    (own / CONTROLNET).write_bytes((own / CONTROLNET).read_bytes()[:100])


def leave_a_pointer(own: Path) -> None:
    (own / TRANSFORMER).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lose_a_shard, "00002-of-00002.safetensors: it is not there"),
        (lose_a_tensor_of_a_shard, "lacks .*index.json says it has"),
        (break_off, "transformer was broken off"),
        (break_off_into_a_folder, "transformer was broken off"),
        (leave_a_dangling_link, "is not there"),
        (cut_off, "where its header says"),
        (cut_off_in_the_header, "ends inside its header"),
        (leave_a_pointer, "Git LFS's pointer"),
        (lambda own: change(own / TRANSFORMER, lambda tensors: tensors.pop(PROJ)), f"lacks {PROJ}"),
        (lambda own: (own / "base/vae/config.json").unlink(), "config.json is missing"),
        (lambda own: (own / "base/vae/config.json").write_text("{"), "config.json is not JSON"),
        (lambda own: shutil.rmtree(own / "base/tokenizer_2"), "needs spiece.model"),
        (lambda own: (own / "base/scheduler/scheduler_config.json").unlink(), "scheduler_config.json is missing"),
        (lambda own: (own / "base/text_encoder/model.safetensors").unlink(), "has no .safetensors file"),
    ],
)
def test_half_a_checkpoint_is_incomplete_and_says_where(own: Path, spoil: Callable[[Path], object], told: str) -> None:
    check(own)
    spoil(own)
    with pytest.raises(WeightsIncomplete, match=f"{told}.*run `posegen models pull flux1-dev`"):
        check(own)


def test_a_wrong_shape_names_the_tensor_and_both_shapes(own: Path) -> None:
    change(own / TRANSFORMER, lambda tensors: tensors.update({PROJ: tensors[PROJ][:, :100].contiguous()}))
    with pytest.raises(WrongShape, match=r"proj_out.weight is 64 x 100, and config.json asks for 64 x 192") as told:
        check(own)
    assert (told.value.tensor, told.value.found, told.value.expected) == (PROJ, (64, 100), (64, 192))


def sdxl(own: Path) -> None:
    shutil.rmtree(own / "base/transformer")
    (own / "base/unet").mkdir()


def schnell(own: Path) -> None:
    configure(own / "base/transformer/config.json", guidance_embeds=False)
    change(own / TRANSFORMER, lambda tensors: [tensors.pop(name) for name in list(tensors) if "guidance" in name])


def schnell_in_a_single_file(own: Path) -> None:
    tensors = bfl_tensors(own / "base/transformer")
    (own / TRANSFORMER).unlink()
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("guidance_in")}
    save_file(kept, own / "base/transformer/flux1-schnell.safetensors")


def another_controlnet(own: Path) -> None:
    (own / CONTROLNET).unlink()
    save_file({"double_blocks.0.qkv.weight": torch.zeros(3)}, own / CONTROLNET)


def quantised(own: Path) -> None:
    change(own / TRANSFORMER, lambda tensors: tensors.update({PROJ: tensors[PROJ].to(torch.uint8)}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (sdxl, "it has a unet, as Stable Diffusion has; FLUX.1-dev is needed"),
        (
            lambda own: (own / "base/model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}'),
            "it is a StableDiffusionXLPipeline, FLUX.1-dev is needed",
        ),
        (schnell, "takes no guidance, as FLUX.1-schnell does"),
        (schnell_in_a_single_file, "takes no guidance, as FLUX.1-schnell does"),
        (another_controlnet, "holds no tensor of a FluxControlNetModel"),
        (quantised, "stored as U8: it was quantised"),
        (
            lambda own: configure(own / "controlnet/config.json", _class_name="SD3ControlNetModel"),
            "configures SD3ControlNetModel, not FluxControlNetModel",
        ),
        (
            lambda own: change(own / CONTROLNET, lambda tensors: tensors.update({"surplus": torch.zeros(1)})),
            "also holds surplus",
        ),
        (
            lambda own: (
                shutil.copy(own / TRANSFORMER, own / "base/transformer/a.safetensors")
                and (own / TRANSFORMER).rename(own / "base/transformer/b.safetensors")
            ),
            "a.safetensors and b.safetensors may both be the transformer",
        ),
    ],
)
def test_weights_of_another_kind_are_told_apart(own: Path, spoil: Callable[[Path], object], told: str) -> None:
    spoil(own)
    with pytest.raises(WrongKind, match=f"is not what flux1-dev draws with: .*{told}"):
        check(own)


def test_a_controlnet_of_another_width_does_not_fit_the_transformer(own: Path) -> None:
    config = json.loads((own / "controlnet/config.json").read_text()) | {"num_attention_heads": 2}
    with quiet_libraries():
        FluxControlNetModel.from_config(config).save_pretrained(own / "controlnet")
    with pytest.raises(WrongKind, match="its num_attention_heads is 2, the transformer's is 6"):
        check(own)


def test_a_union_controlnet_is_of_its_own_profile_and_no_other(models_dir: Path, tmp_path: Path) -> None:
    plain, union = (
        fill_folder(tiny_folder(models_dir), tmp_path, name) for name in ("flux1-dev", "flux1-dev-unionpro")
    )
    with pytest.raises(WrongKind, match="no control mode 4; use the profile flux1-dev"):
        check(union)
    for own in (plain, union):
        configure(own / "controlnet/config.json", num_mode=10)
        change(
            own / CONTROLNET,
            lambda tensors: tensors.update({"controlnet_mode_embedder.weight": torch.zeros(10, 192)}),
        )
    check(union)
    with pytest.raises(WrongKind, match="use the profile flux1-dev-unionpro"):
        check(plain)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "flux.pt", "flux.ckpt"])
def test_a_pickle_is_refused_and_never_opened(own: Path, name: str) -> None:
    torch.save(load_file(own / TRANSFORMER), own / "base/transformer" / name)
    (own / TRANSFORMER).unlink()
    with pytest.raises(PickleRefused, match=f"{name} is a pickle, .* get the weights as .safetensors"):
        check(own)
    with pytest.raises(PickleRefused):
        load_engine("flux1-dev", "cpu", cache_dir=own.parent)


def test_a_pickle_beside_whole_weights_is_left_alone(own: Path) -> None:
    (own / "base/transformer/diffusion_pytorch_model.bin").write_bytes(b"anything")
    check(own)


def test_each_part_is_found_for_itself(own: Path) -> None:
    shutil.rmtree(own / "controlnet")
    with pytest.raises(WeightsMissing, match=r"ControlNet-Union-Pro-2\.0"):
        find_weights(FLUX1_DEV, own.parent)


@pytest.mark.parametrize("spoil", [lose_a_shard, cut_off, schnell, sdxl])
def test_a_load_says_what_the_check_says(own: Path, spoil: Callable[[Path], object]) -> None:
    spoil(own)
    with pytest.raises(ModelsError) as checked:
        check(own)
    with pytest.raises(type(checked.value)) as loaded:
        load_engine("flux1-dev", "cpu", cache_dir=own.parent)
    assert str(loaded.value) == str(checked.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02\0\0\0\0\0\0\0[]",
        b'\x07\0\0\0\0\0\0\0{"a":1}',
        b"\x02\0\0\0\0\0\0\0{}more",
        b"\xff" * 64,
        b'\x3a\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}    1234',
    ],
)
def test_a_file_that_is_no_safetensors_file_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(DamagedFile):
        read_header(tmp_path / "x.safetensors")
