"""What an engine is asked and what it answers: plain values, valid once they pass the profile's checks.

Imports no torch; Pillow and numpy are named in types only. A key is the caller's name for a picture, unique among
the engine's live samples; the engine never reads meaning into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from models.errors import ControlRefused, EmptyPrompt, ModelsError, SizeRefused, StepsRefused, StrengthRefused
from models.loras import Lora, check_loras
from models.profiles import PIXEL_MULTIPLE, Profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

HIGHEST_SEED = 2**63 - 1

Stage = Literal["encode", "step", "decode", "call", "idle"]
"""call: somebody else's machine is drawing, and was waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """One picture to draw.

    control: RGB of exactly width x height, or None for no pose control. control_end: the share of the steps (0..1)
    after which the ControlNet is left out. seed fixes the picture, whatever is drawn beside it. precise: draw in
    higher precision, in forwards of its own. loras: part of what rows of one forward share. allow_poseless: whoever
    asks is content with a picture that does not follow the control; engines that can follow it do so all the same.
    """

    key: str
    prompt: str
    control: Image | None
    width: int
    height: int
    seed: int
    steps: int
    guidance: float
    control_scale: float
    control_end: float
    precise: bool = False
    loras: tuple[Lora, ...] = ()
    allow_poseless: bool = False

    @property
    def wants_pose(self) -> bool:
        """Whether the control picture is to have a say at all."""
        return self.control is not None and self.control_scale > 0 and self.control_end > 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


def check_request(request: PictureRequest, profile: Profile) -> None:
    """Raise the RequestRefused that fits, when `profile` cannot draw `request`."""
    if not request.prompt.strip():
        raise EmptyPrompt
    odd = request.width % PIXEL_MULTIPLE or request.height % PIXEL_MULTIPLE
    if odd or request.size not in profile.sizes:
        raise SizeRefused(request.width, request.height, profile.sizes)
    control = request.control
    if control is not None and (control.size != request.size or control.mode != "RGB"):
        raise ControlRefused(control.size, control.mode, request.width, request.height)
    if not profile.lowest_steps <= request.steps <= profile.highest_steps:
        raise StepsRefused(request.steps, profile.lowest_steps, profile.highest_steps)
    for name, value, highest in (
        ("guidance", request.guidance, profile.highest_guidance),
        ("control_scale", request.control_scale, profile.highest_control_scale),
        ("control_end", request.control_end, 1.0),
        ("seed", request.seed, HIGHEST_SEED),
    ):
        if not 0 <= value <= highest:  # also false for NaN
            raise StrengthRefused(name, value, 0, highest)
    check_loras(request.loras)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A picture. pixels: (height, width, 3) float32 in 0..1, before any rounding to 8 bits.

    denoise_s: what this picture's forwards took, shared evenly among the rows of each. backend: the profile's name, or
    what kind of hosted endpoint drew it.
    steps_skipped: those of steps_run that ran no network (see models.velocity_cache).
    """

    key: str
    pixels: NDArray[np.float32]
    denoise_s: float
    steps_run: int
    backend: str
    pose_applied: bool
    steps_skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A picture that cannot be drawn; the others go on."""

    key: str
    error: ModelsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A picture that was given up because `cancel` was called."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A picture that was not drawn because its engine cannot draw now; it may be asked for again, here or elsewhere.

    suspect: the call that it was in broke. When that goes on for one picture, the picture is the reason.
    """

    key: str
    error: ModelsError
    suspect: bool = False


Outcome = Finished | Failed | Cancelled | Returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a picture was becoming after a step. pixels: (h, w, 3) uint8, small; step_index counts from 0."""

    key: str
    step_index: int
    steps: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one `Engine.step()` did.

    rows: (key, step_index, steps) of every row that was in the forward; step_index counts from 0 and is the step
    that was just done. Empty unless stage is "step". skipped: likewise, the steps that were done before the forward
    without networks. elsewhere: likewise, every step of the pictures that came from another machine with this report.
    step_no counts the engine's forwards, or its calls. previews: those that arrived, which may be of an earlier step.
    """

    outcomes: list[Outcome]
    rows: tuple[tuple[str, int, int], ...]
    compute_s: float
    step_no: int
    stage: Stage
    previews: tuple[Preview, ...] = ()
    skipped: tuple[tuple[str, int, int], ...] = ()
    elsewhere: tuple[tuple[str, int, int], ...] = ()
