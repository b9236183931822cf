"""One picture on its way through an engine, from request to outcome: where it is, not what its tensors hold.

    WAITING  -> ACTIVE     admitted into a free row
    ACTIVE   -> ACTIVE     one Euler step further
    ACTIVE   -> WAITING    the forward did not fit the memory
    ACTIVE   -> DECODING   the last step is done; its row is free
    DECODING -> ARRIVING   decoded; the pixels are being copied to the host
    ARRIVING -> WAITING    the picture is bad and is drawn once more
    any      -> gone       finished, failed or cancelled: an outcome was reported

A crash loses samples in every state: they live in this process only.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from models.loras import Lora
from models.requests import PictureRequest
from models.velocity_cache import CacheMode, full_steps

Lane = tuple[int, int, bool, tuple[Lora, ...]]


class SampleState(StrEnum):
    """Where a sample is."""

    WAITING = "waiting"  # no row yet
    ACTIVE = "active"  # has a row in the next forward
    DECODING = "decoding"  # denoised, not yet pixels
    ARRIVING = "arriving"  # pixels, not yet on the host


@dataclass(slots=True, kw_only=True, eq=False)
class Sample:
    """A request and its progress. tensors belongs to the engine that draws it and is None until encoded.

    steps_done: also those that were skipped, which are counted in steps_skipped too.
    wants_preview: somebody asked to see what the next step makes of it.
    """

    request: PictureRequest
    steps_done: int = 0
    steps_skipped: int = 0
    denoise_s: float = 0.0
    pose_applied: bool = False
    tries: int = 1
    state: SampleState = SampleState.WAITING
    wants_preview: bool = False
    tensors: Any = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """The caller's name for the picture."""
        return self.request.key

    @property
    def lane(self) -> "Lane":
        """What rows of one forward must share: width, height, precision and LoRAs."""
        return self.request.width, self.request.height, self.request.precise, self.request.loras

    @property
    def denoised(self) -> bool:
        """Whether the last step is done."""
        return self.steps_done >= self.request.steps

    @property
    def control_steps(self) -> int:
        """In how many steps, all at the beginning, the ControlNet has a say.

        The rule of diffusers' FluxControlNetPipeline: step i of n is kept while (i + 1) / n <= control_end.
        """
        request = self.request
        if request.control is None or request.control_scale == 0:
            return 0
        return sum((step + 1) / request.steps <= request.control_end for step in range(request.steps))

    def wants_control(self) -> bool:
        """Whether the ControlNet has a say in the next step."""
        return self.steps_done < self.control_steps

    def next_full_step(self, mode: CacheMode) -> int:
        """Return the next step that runs the networks, from 0; the one it is at unless that is skipped."""
        return full_steps(mode, self.request.steps, self.control_steps).index(True, self.steps_done)

    def skip(self) -> tuple[str, int, int]:
        """Count one step that ran no network; returns it as `advance` does."""
        self.steps_skipped += 1
        return self.advance(with_control=False, share_s=0.0)

    def advance(self, *, with_control: bool, share_s: float) -> tuple[str, int, int]:
        """Count one step; returns (key, step_index, steps) of the step that was done."""
        row = (self.key, self.steps_done, self.request.steps)
        self.steps_done += 1
        self.denoise_s += share_s
        self.pose_applied = self.pose_applied or with_control
        return row

    def start_over(self) -> None:
        """Forget all progress and ask for higher precision; the seed stays."""
        self.request = replace(self.request, precise=True)
        self.tries += 1
        self.steps_done = self.steps_skipped = 0
        self.pose_applied = False
        self.tensors = None
