"""How many floating-point operations FLUX and its ControlNet take, from their configurations alone. Without torch.

Counted are the multiplications and additions of the linear layers and of attention, two a multiply-add, as the papers
do. With n image and t text tokens of width d, every block, double or single, is 12 d^2 weights a token and attention
over all n + t tokens:

    block       24 (n + t) d^2 + 4 (n + t)^2 d
    ControlNet  its blocks, and one d x d layer a block over the n image tokens

Modulation is a few rows of work and is left out. For FLUX.1-dev with Union-Pro-2.0 at 1024x1024 that is 74.4 TFLOP for
a step of the transformer and 8.3 for one of the ControlNet; a test holds it to these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.schedule import image_tokens

Config = Mapping[str, Any]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """Operations of one picture's step: of the transformer, and of the ControlNet where it runs."""

    transformer: float
    controlnet: float

    def of(self, *, steps: int, control_steps: int) -> float:
        """Operations of so many steps of the transformer and of the ControlNet."""
        return steps * self.transformer + control_steps * self.controlnet


def step_work(transformer: Config, controlnet: Config, size: Size, text_tokens: int) -> StepWork:
    """Count one step of one picture. size in pixels."""
    image = image_tokens(*size)
    width = _width(controlnet)
    handing_over = 2 * _blocks(controlnet) * image * width**2
    return StepWork(
        transformer=_trunk(transformer, image, text_tokens),
        controlnet=_trunk(controlnet, image, text_tokens) + handing_over,
    )


def _trunk(config: Config, image: int, text: int) -> float:
    width = _width(config)
    tokens = image + text
    block = 24 * tokens * width**2 + 4 * tokens**2 * width
    embedding = 2 * width * (text * config["joint_attention_dim"] + 2 * image * config["in_channels"])
    return float(_blocks(config) * block + embedding)


def _blocks(config: Config) -> int:
    return int(config["num_layers"] + config["num_single_layers"])


def _width(config: Config) -> int:
    return int(config["num_attention_heads"] * config["attention_head_dim"])
