"""LoRAs on the transformer: applied as the trainer's layouts say, exact to switch, gone without a trace."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.adapters import ATTENTION, MODULATION, write_lora
from torch import Tensor, nn

from models import adapters
from models.adapters import Adapters
from models.components import FluxComponents
from models.errors import LoraMissing, LoraUnfit, ModelsError
from models.loading import load_components, weight_folders
from models.loras import Lora
from models.profiles import TINY

CPU = torch.device("cpu")
Run = Callable[..., Tensor]


@pytest.fixture
def parts(models_dir: Path) -> FluxComponents:
    """The built-in model, not wrapped by any other test."""
    return load_components(weight_folders(TINY, models_dir), CPU, TINY)


@pytest.fixture
def used(parts: FluxComponents, tmp_path: Path) -> Run:
    """Runs the transformer with LoRAs: used({"style": 1.0, ...}) -> velocity, (1, 64, 64)."""
    shelf = Adapters(parts.transformer, tmp_path, precomputed=False)
    generator = torch.Generator().manual_seed(3)
    given = {
        "hidden_states": torch.randn(1, 64, 64, generator=generator),
        "encoder_hidden_states": torch.randn(1, 16, 64, generator=generator),
        "pooled_projections": torch.randn(1, 64, generator=generator),
        "timestep": torch.tensor([0.7]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(64, 3),
        "txt_ids": torch.zeros(16, 3),
        "return_dict": False,
    }

    def run(loras: dict[str, float]) -> Tensor:
        wanted = tuple(Lora(name=name, strength=strength) for name, strength in sorted(loras.items()))
        shelf.use(wanted, dtype=torch.float32, device=CPU)
        with torch.inference_mode():
            velocity: Tensor = parts.transformer(**given)[0]
            return velocity

    run.shelf = shelf  # type: ignore[attr-defined]
    return run


def merged(transformer: nn.Module, *files: tuple[Path, float]) -> dict[str, Tensor]:
    """Work out by hand what LoRAs make of the weights: W + strength * B A."""
    state = {name.replace(".base_layer", ""): tensor.clone() for name, tensor in transformer.state_dict().items()}
    for path, strength in files:
        lora = load_file(path)
        for key in [key for key in lora if key.endswith("lora_A.weight")]:
            layer = key.removeprefix("transformer.").removesuffix(".lora_A.weight")
            up = lora[key.replace("lora_A", "lora_B")]
            state[f"{layer}.weight"] += strength * up @ lora[key]
    return state


def test_a_lora_adds_what_its_two_matrices_say(parts: FluxComponents, used: Run, tmp_path: Path) -> None:
    one = write_lora(tmp_path, "one", seed=1)
    two = write_lora(tmp_path, "two", seed=2, layers=("transformer_blocks.1.ff.net.2", *ATTENTION), rank=2)
    none = used({})
    by_hand = merged(parts.transformer, (one, 0.5), (two, 1.5))
    with_both = used({"one": 0.5, "two": 1.5})
    used({})
    inner = {name.replace(".base_layer", ""): name for name in parts.transformer.state_dict() if "lora_" not in name}
    parts.transformer.load_state_dict({inner[name]: tensor for name, tensor in by_hand.items()}, strict=False)
    assert torch.allclose(used({}), with_both, atol=1e-5)
    assert (none - with_both).abs().max() > 0.01


def test_switching_back_and_forth_is_exact(used: Run, tmp_path: Path) -> None:
    write_lora(tmp_path, "one", seed=1)
    write_lora(tmp_path, "two", seed=2, layers=("x_embedder", *MODULATION))
    none = used({})
    one, two, both, weaker = used({"one": 1.0}), used({"two": 1.0}), used({"one": 1.0, "two": 1.0}), used({"one": 0.3})
    assert len({velocity.sum().item() for velocity in (none, one, two, both, weaker)}) == 5
    for loras, velocity in (
        ({}, none),
        ({"two": 1.0}, two),
        ({"one": 0.3}, weaker),
        ({"one": 1.0, "two": 1.0}, both),
        ({"one": 1.0}, one),
        ({}, none),
    ):
        assert torch.equal(used(loras), velocity)


def test_a_file_that_was_replaced_is_read_again(used: Run, tmp_path: Path) -> None:
    write_lora(tmp_path, "one", seed=1)
    before = used({"one": 1.0})
    none = used({})
    write_lora(tmp_path, "one", seed=2, rank=2)
    assert not torch.equal(used({"one": 1.0}), before)
    assert torch.equal(used({}), none)


def test_only_some_stay_loaded(
    parts: FluxComponents, used: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "MOST_LOADED", 2)
    for number in range(4):
        write_lora(tmp_path, f"l{number}", seed=number)
    drawn = [used({f"l{number}": 1.0}) for number in range(4)]
    assert len(parts.transformer.peft_config) == 2
    assert all(torch.equal(used({f"l{number}": 1.0}), velocity) for number, velocity in enumerate(drawn))
    assert len(parts.transformer.peft_config) == 2


def test_a_lora_of_kohyas_trainer_is_converted(used: Run, tmp_path: Path) -> None:
    ours = write_lora(tmp_path, "ours", layers=("transformer_blocks.0.attn.to_out.0",))
    lora = load_file(ours)
    at = "transformer.transformer_blocks.0.attn.to_out.0"
    save_file(
        {
            "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": lora[f"{at}.lora_A.weight"],
            "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": lora[f"{at}.lora_B.weight"],
            "lora_unet_double_blocks_0_img_attn_proj.alpha": torch.tensor(2.0),  # half of its rank
        },
        tmp_path / "kohya.safetensors",
    )
    assert torch.allclose(used({"kohya": 1.0}), used({"ours": 0.5}), atol=1e-5)


def text_encoder_too(path: Path) -> None:
    save_file(load_file(path) | {"text_encoder.layers.0.lora_A.weight": torch.zeros(4, 64)}, path)


def another_width(path: Path) -> None:
    lora = load_file(path)
    key = f"transformer.{ATTENTION[0]}.lora_A.weight"
    save_file(lora | {key: lora[key][:, :100].contiguous()}, path)


def another_layer(path: Path) -> None:
    save_file({key.replace("blocks.0.", "blocks.17."): tensor for key, tensor in load_file(path).items()}, path)


def half(path: Path) -> None:
    save_file({key: tensor for key, tensor in load_file(path).items() if "lora_A" in key}, path)


def norms_too(path: Path) -> None:
    save_file(load_file(path) | {"transformer.transformer_blocks.0.attn.norm_q.weight": torch.zeros(32)}, path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (text_encoder_too, "changes a text encoder too"),
        (another_width, r"for another model: transformer_blocks.0.attn.to_q is 100 to 192, here \(192, 192\)"),
        (another_layer, "for another model, one with a layer transformer_blocks.17"),
        (half, "only half of|another model"),
        (norms_too, "also changes transformer.transformer_blocks.0.attn.norm_q.weight"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "the file is damaged"),
        (lambda path: save_file({"transformer.x_embedder.weight": torch.zeros(1)}, path), "it holds no LoRA"),
    ],
)
def test_a_lora_that_does_not_fit_is_told_and_leaves_nothing(
    parts: FluxComponents, used: Run, tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    none = used({})
    spoil(write_lora(tmp_path, "bad"))
    with pytest.raises(LoraUnfit, match=f"The LoRA 'bad' cannot be used here: .*({told})"):
        used({"bad": 1.0})
    assert not getattr(parts.transformer, "peft_config", {})
    assert torch.equal(used({}), none)


def test_an_unknown_lora_is_told_with_those_that_are_there(used: Run, tmp_path: Path) -> None:
    write_lora(tmp_path, "one")
    (tmp_path / "pickled.bin").write_bytes(b"anything")
    with pytest.raises(LoraMissing, match="no LoRA 'pickled': choose one of one"):
        used({"pickled": 1.0})
    with pytest.raises(LoraMissing, match=r"no LoRA '\.\./one'"):
        used({"../one": 1.0})


def test_modulation_that_was_computed_ahead_is_not_changed_silently(models_dir: Path, tmp_path: Path) -> None:
    parts = load_components(weight_folders(TINY, models_dir), CPU, TINY, with_tables=True)
    shelf = Adapters(parts.transformer, tmp_path, precomputed=True)
    for number, layer in enumerate((*MODULATION, "single_transformer_blocks.0.norm.linear", "norm_out.linear")):
        write_lora(tmp_path, f"mod{number}", layers=(*ATTENTION, layer))
        with pytest.raises(LoraUnfit, match="changes the modulation"):
            shelf.use((Lora(name=f"mod{number}"),), dtype=torch.float32, device=CPU)
    write_lora(tmp_path, "attention")
    shelf.use((Lora(name="attention"),), dtype=torch.float32, device=CPU)


def test_a_failed_switch_leaves_the_transformer_without_any(used: Run, tmp_path: Path) -> None:
    write_lora(tmp_path, "one")
    none, one = used({}), used({"one": 1.0})
    with pytest.raises(ModelsError):
        used({"one": 1.0, "two": 1.0})
    assert torch.equal(used({}), none)
    assert torch.equal(used({"one": 1.0}), one)
