"""A picture that left the engine, in this process's own memory: nothing of the card's is held by it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.requests import Finished
from posegen.leases import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One drawing of a claim. denoise_s: of this and of every drawing before it, for all were drawn for it.

    pose_score: 0..1, or None where nobody judged it.
    """

    claim: Claim
    picture: Image.Image
    backend: str
    pose_applied: bool
    denoise_s: float
    steps_skipped: int = 0
    pose_score: float | None = None


def drawn_of(claim: Claim, outcome: Finished) -> Drawn:
    """Return what the engine finished, not judged yet."""
    return Drawn(
        claim=claim,
        picture=picture_of(outcome.pixels),
        backend=outcome.backend,
        pose_applied=outcome.pose_applied,
        denoise_s=outcome.denoise_s,
        steps_skipped=outcome.steps_skipped,
    )


def picture_of(pixels: NDArray[np.float32]) -> Image.Image:
    """Return pixels, (H, W, 3) float in 0..1, as a picture; they are rounded to 8 bits here, once."""
    return Image.fromarray(np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8), mode="RGB")
