"""Our noise levels are diffusers' own."""

import numpy as np
import pytest
from diffusers.pipelines.flux.pipeline_flux_controlnet import calculate_shift
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from models.schedule import Schedule, image_tokens


@pytest.mark.parametrize("steps", [1, 2, 8, 28, 50])
@pytest.mark.parametrize("size", [(256, 256), (832, 1216), (1024, 1024)])
@pytest.mark.parametrize("dynamic", [True, False])
def test_the_sigmas_are_those_of_diffusers(steps: int, size: tuple[int, int], dynamic: bool) -> None:
    config = {"shift": 3.0, "use_dynamic_shifting": dynamic, "base_shift": 0.5, "max_shift": 1.15}
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    tokens = image_tokens(*size)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=calculate_shift(tokens, 256, 4096, 0.5, 1.15))
    ours = Schedule.from_config(scheduler.config).sigmas(steps, tokens)
    assert len(ours) == steps + 1
    assert np.abs(np.array(ours) - scheduler.sigmas.numpy()).max() < 2e-7


def test_a_picture_of_1024_has_4096_tokens() -> None:
    assert image_tokens(1024, 1024) == 4096
