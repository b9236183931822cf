"""FLUX's noise levels, computed per picture and without torch, so rows of one forward can be on different schedules.

The arithmetic is diffusers' FlowMatchEulerDiscreteScheduler with `sigmas = linspace(1, 1/n, n)` as its FLUX pipelines
call it; a test holds the two together. Larger pictures are shifted towards more noise (`mu` grows with their tokens).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The part of a scheduler_config.json that FLUX uses; the defaults are FLUX.1-dev's."""

    num_train_timesteps: int = 1000
    shift: float = 3.0
    use_dynamic_shifting: bool = True
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Schedule":
        """Read a scheduler_config.json; what it leaves out keeps FLUX.1-dev's value."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in config.items() if name in known})  # type: ignore[arg-type]

    def sigmas(self, steps: int, image_tokens: int) -> tuple[float, ...]:
        """Return steps + 1 noise levels from about 1 down to exactly 0."""
        evenly = [1.0 + (1.0 / steps - 1.0) * step / (steps - 1) if steps > 1 else 1.0 for step in range(steps)]
        if self.use_dynamic_shifting:
            pull = math.exp(self._mu(image_tokens))
            return (*(pull / (pull + (1.0 / sigma - 1.0)) for sigma in evenly), 0.0)
        return (*(self.shift * sigma / (1 + (self.shift - 1) * sigma) for sigma in evenly), 0.0)

    def _mu(self, image_tokens: int) -> float:
        # diffusers' calculate_shift: a line through the two (tokens, shift) points of the config.
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        return image_tokens * slope + self.base_shift - slope * self.base_image_seq_len


def image_tokens(width: int, height: int) -> int:
    """How many tokens a picture has: 8x8 pixels are one latent, 2x2 latents one token."""
    return (width // 16) * (height // 16)
