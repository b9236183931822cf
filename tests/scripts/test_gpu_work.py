"""The operations that a bench divides its seconds by are those of FLUX, and of what a way really computes."""

import pytest
import torch
from flux_configs import FLUX, UNION_PRO_2
from gpu_cells import CONTROL_STEPS, STEPS, Way
from gpu_summary import computed
from gpu_work import step_work
from torch.utils.flop_counter import FlopCounterMode

from models.library_noise import quiet_libraries
from models.profiles import FLUX1_DEV
from models.tiny.denoiser import build_controlnet, build_transformer


@pytest.mark.parametrize(("size", "tflop"), [((1024, 1024), 74.4), ((768, 1024), 55.3), ((512, 512), 21.5)])
def test_a_step_of_flux_is_what_the_papers_count(size: tuple[int, int], tflop: float) -> None:
    assert step_work(FLUX, UNION_PRO_2, size, 512).transformer / 1e12 == pytest.approx(tflop, abs=0.05)


def test_a_step_of_the_controlnet_and_a_whole_picture() -> None:
    work = step_work(FLUX, UNION_PRO_2, FLUX1_DEV.default_size, FLUX1_DEV.text_tokens)
    assert work.controlnet / 1e12 == pytest.approx(8.3, abs=0.05)
    assert work.of(steps=STEPS, control_steps=CONTROL_STEPS) / 1e12 == pytest.approx(2232, rel=0.001)


def test_a_way_is_charged_for_what_it_computes() -> None:
    work = step_work(FLUX, UNION_PRO_2, FLUX1_DEV.default_size, FLUX1_DEV.text_tokens)
    assert computed(work, Way.STOCK_BATCHED) == STEPS * (work.transformer + work.controlnet)
    assert computed(work, Way.OURS_TABLES) == work.of(steps=28, control_steps=18)
    assert computed(work, Way.OURS_FAST) / 1e12 == pytest.approx(1273, rel=0.001)  # docs/speed.md


def test_the_count_is_that_of_the_networks_own_operators() -> None:
    generator = torch.Generator().manual_seed(0)
    with quiet_libraries():
        flux, controlnet = build_transformer(generator).eval(), build_controlnet(generator).eval()
    side, text = 8, 64
    image = torch.zeros(1, side * side, 64)
    shared = {
        "hidden_states": image,
        "timestep": torch.ones(1),
        "guidance": torch.ones(1),
        "pooled_projections": torch.zeros(1, flux.config.pooled_projection_dim),
        "encoder_hidden_states": torch.zeros(1, text, flux.config.joint_attention_dim),
        "txt_ids": torch.zeros(text, 3),
        "img_ids": torch.zeros(side * side, 3),
    }
    work = step_work(flux.config, controlnet.config, (16 * side, 16 * side), text)
    with torch.no_grad(), FlopCounterMode(display=False) as of_flux:
        flux(**shared)
    with torch.no_grad(), FlopCounterMode(display=False) as of_controlnet:
        controlnet(controlnet_cond=image, **shared)
    # What is left out is the modulation: one row of work.
    assert work.transformer == pytest.approx(of_flux.get_total_flops(), rel=0.02)
    assert work.controlnet == pytest.approx(of_controlnet.get_total_flops(), rel=0.02)
