"""How far one picture is from another: PSNR, SSIM, LPIPS where it is installed, and where the joints of people are.

Pictures are (height, width, 3) float in 0..1. LPIPS comes from the package `lpips`, which brings its own weights or
fetches them; key-points come from a detector whose weights are here (models.detectors).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.detectors.opening import open_detector
from models.detectors.people import FoundPerson, PoseDetector
from models.detectors.weights import find_weights
from models.errors import DetectorFailed, DetectorMissing
from posegen.poses import Pose, frame_pose

Picture = NDArray[np.float32]
SAME_DB = 200.0
"""Told for pictures without any difference, whose ratio is infinite."""
WINDOW = 7
"""Side of SSIM's windows in pixels, as scikit-image has it by default."""
NEAR = 0.1
"""A joint is where it was asked for when it is off by at most so much of the person's longer side (PCK@0.1)."""
_LUMA = np.array([0.299, 0.587, 0.114])


def psnr_db(picture: Picture, other: Picture) -> float:
    """Peak signal-to-noise ratio in dB, where the peak is 1."""
    error = float(np.square(picture - other, dtype=np.float64).mean())
    return -10 * math.log10(error) if error else SAME_DB


def ssim(picture: Picture, other: Picture) -> float:
    """Structural similarity of the luminance, 1 for the same picture.

    Wang et al. 2004 with even windows, of which a sample's variance is taken, as scikit-image does by default.
    """
    a, b = picture @ _LUMA, other @ _LUMA
    mean_a, mean_b = _means(a), _means(b)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variance_a = unbiased * (_means(a * a) - mean_a**2)
    variance_b = unbiased * (_means(b * b) - mean_b**2)
    together = unbiased * (_means(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_a * mean_b + c1) * (2 * together + c2)
    return float((alike / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of every window that lies whole inside."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    windows = sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW] + sums[:-WINDOW, :-WINDOW]
    means: NDArray[np.float64] = windows / WINDOW**2
    return means


def open_lpips(device: torch.device) -> tuple[Callable[[Picture, Picture], float] | None, str]:
    """Return LPIPS (AlexNet's), 0 for the same picture, or None; and what to say of it."""
    try:
        import lpips  # type: ignore[import-not-found]

        network = lpips.LPIPS(net="alex", verbose=False).to(device).eval()
    except (ImportError, OSError, RuntimeError) as error:  # not installed, or its weights cannot be had
        return None, f"LPIPS was not measured: {str(error).splitlines()[0]}"

    def distance(picture: Picture, other: Picture) -> float:
        tensors = [torch.from_numpy(2 * one - 1).permute(2, 0, 1)[None].to(device) for one in (picture, other)]
        with torch.inference_mode():
            return float(network(*tensors))

    return distance, "LPIPS: AlexNet's"


def open_joints(folder: Path, device: torch.device) -> tuple[PoseDetector | None, str]:
    """Return the first detector that has its weights, or None; and what to say of it."""
    try:
        found = find_weights(folder)
        detector = open_detector(found, device=str(device))
    except (DetectorMissing, DetectorFailed) as error:
        return None, f"Key-points were not measured: {error}"
    return detector, f"Key-points: {found.weights.title}"


def joints_kept(detector: PoseDetector, picture: Picture, asked: Pose) -> float:
    """Return the share of the joints of the first person that was asked for which the picture has there.

    Raises DetectorFailed.
    """
    height, width, _ = picture.shape
    photo = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    wanted = frame_pose(asked, width / height).people[0].body
    places = [(point.x * width, point.y * height) if point else None for point in wanted]
    return best_share(places, detector.detect(photo))


def best_share(wanted: Sequence[tuple[float, float] | None], people: Sequence[FoundPerson]) -> float:
    """Return the share of the wanted joints that the person who has most of them has near."""
    seen = [(at, place) for at, place in enumerate(wanted) if place is not None]
    xs, ys = zip(*(place for _, place in seen), strict=True)
    near = NEAR * max(max(xs) - min(xs), max(ys) - min(ys))

    def share(person: FoundPerson) -> float:
        hits = 0
        for at, (x, y) in seen:
            point = person.body[at]
            hits += point is not None and math.hypot(point.x_px - x, point.y_px - y) <= near
        return hits / len(seen)

    return max(map(share, people), default=0.0)
