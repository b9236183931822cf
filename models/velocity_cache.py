"""Steps without networks: on some steps the velocity is extrapolated from the last ones. Lossy, off by default.

Which steps these are is fixed by the mode, the number of steps and the step at which the control ends, never by what
is in the picture or beside it. So a picture stays its request's alone, and a forward holds only rows whose step is
full: between two full steps a row moves by arithmetic, with neither transformer nor ControlNet. Without torch.

The velocity is continued on the line through the last two full steps, at noise levels s1 > s2, to the level s:

    v(s) = v2 + (s - s2) / (s2 - s1) (v2 - v1)

That is Newton's interpolation polynomial of the first degree, and for even levels the first-order forecast of
TaylorSeer (Liu et al. 2025, arXiv:2503.06923). FLUX's levels are far from even, so the index of a step must not stand
for its level. s is the level at which the skipped step begins: there Euler's method would have asked the networks.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

FIRST_STEPS = 6
"""Always full: they settle what the picture shows. Of long schedules the first fifth."""
LAST_STEPS = 2
"""Always full: they settle its details, and nothing corrects them afterwards."""


class CacheMode(StrEnum):
    """How many steps are skipped."""

    OFF = "off"  # none: every picture is exactly the model's
    SAFE = "safe"  # one of three between the first and the last: 21 or 22 of 28 are full
    FAST = "fast"  # three of five: 16 of 28 are full


_PATTERNS = {
    CacheMode.OFF: (True,),
    CacheMode.SAFE: (False, True, True),
    CacheMode.FAST: (False, False, True, False, True),
}


@lru_cache
def full_steps(mode: CacheMode, steps: int, control_steps: int) -> tuple[bool, ...]:
    """Tell of each step whether the networks are run.

    control_steps: how many steps follow a control. The velocity jumps where it ends, so the first two steps after it
    are full, and no line is drawn across it.
    """
    first = max(FIRST_STEPS, math.ceil(steps / 5))
    pattern = _PATTERNS[mode]
    full = [True] * steps
    since = 0
    for step in range(first, steps - LAST_STEPS):
        if step in (control_steps, control_steps + 1):
            since = 0
            continue
        full[step] = pattern[since % len(pattern)]
        since += 1
    return tuple(full)


def coast_weights(sigmas: Sequence[float], begin: int, end: int, known: tuple[float, float]) -> tuple[float, float]:
    """Return (a, b) for which latents + a v1 + b v2 are the latents after the skipped steps begin..end - 1.

    sigmas: the schedule; known: the noise levels of v1 and v2, the velocities of the last two full steps.
    """
    older, newer = known
    of_older = of_newer = 0.0
    for step in range(begin, end):
        stride = sigmas[step + 1] - sigmas[step]
        reach = (sigmas[step] - newer) / (newer - older)
        of_older -= stride * reach
        of_newer += stride * (1 + reach)
    return of_older, of_newer
