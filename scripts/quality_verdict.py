"""What is said of a lossy mode from how far its pictures are from the lossless ones. Arithmetic only.

Nothing is asked of a mode that a second lossless run, whose batches were other ones, does not reach itself: that is
the noise floor, and a limit beyond it becomes it. The limits are a judgement, not a measurement: a mode may change
details of a picture, but not what it shows, where the person stands, or how well the pose is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

MEAN_SSIM, WORST_SSIM = 0.80, 0.55
MEAN_PSNR_DB = 20.0
MEAN_LPIPS = 0.20
JOINTS_LOST = 0.05
"""Of all joints, how many fewer may be where they were asked for than in the lossless pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One mode's pictures against the lossless ones, picture by picture. None: not measured. undrawn: that failed."""

    psnr_db: Sequence[float]
    ssim: Sequence[float]
    lpips: Sequence[float] | None = None
    joints: Sequence[float] | None = None
    undrawn: int = 0

    def told(self) -> dict[str, float | int | None]:
        """Return what a verdict file says of them."""
        return {
            "psnr_db_mean": fmean(self.psnr_db) if self.psnr_db else None,
            "psnr_db_worst": min(self.psnr_db, default=None),
            "ssim_mean": fmean(self.ssim) if self.ssim else None,
            "ssim_worst": min(self.ssim, default=None),
            "lpips_mean": fmean(self.lpips) if self.lpips else None,
            "joints_kept": fmean(self.joints) if self.joints else None,
            "undrawn": self.undrawn,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a mode passed; reasons: every limit that it missed."""

    passed: bool
    reasons: tuple[str, ...]


def judge_mode(mode: Measures, floor: Measures, *, joints_lossless: float | None) -> Verdict:
    """Hold a mode's pictures to the limits. joints_lossless: the share of joints that the lossless pictures keep."""
    if not mode.ssim:
        return Verdict(passed=False, reasons=("no picture was drawn",))
    found, noise = mode.told(), floor.told()
    reasons = [f"{mode.undrawn} pictures were not drawn"] if mode.undrawn else []
    for name, limit in (("ssim_mean", MEAN_SSIM), ("ssim_worst", WORST_SSIM), ("psnr_db_mean", MEAN_PSNR_DB)):
        reasons += _below(name, found, min(limit, noise[name] or limit))
    if mode.lpips:
        most = max(MEAN_LPIPS, noise["lpips_mean"] or 0.0)
        reasons += [f"lpips_mean is {fmean(mode.lpips):.3f}, at most {most:.3f}"] if fmean(mode.lpips) > most else []
    if mode.joints and joints_lossless is not None:
        kept = noise["joints_kept"]
        least = min(joints_lossless - JOINTS_LOST, joints_lossless if kept is None else kept)
        reasons += _below("joints_kept", found, least)
    return Verdict(passed=not reasons, reasons=tuple(reasons))


def _below(name: str, found: Mapping[str, float | int | None], least: float) -> list[str]:
    value = found[name]
    return [f"{name} is {value:.3f}, at least {least:.3f}"] if value is not None and value < least else []


def exit_code(verdicts: Mapping[str, Verdict], unmeasured: Mapping[str, str]) -> int:
    """0: every mode that was asked for passed; 1: one did not; 2: none failed, but one could not be measured."""
    if any(not verdict.passed for verdict in verdicts.values()):
        return 1
    return 2 if unmeasured or not verdicts else 0
