"""Which lossy modes were judged on this machine, from the file that `scripts/quality_check.py` leaves. Without torch.

A lossy mode is smaller weights, extrapolated steps, or both. None is ever on by itself. Whoever asks for one that was
not judged good here, on this card and with this profile, is told so; it is drawn all the same.
"""

import json
from pathlib import Path

from models.memory_plan import WeightPrecision
from models.velocity_cache import CacheMode

VERDICTS = "quality"
"""The folder under VAR_DIR, with a file a profile."""


def lossy_mode(precision: WeightPrecision | None, cache: CacheMode) -> str | None:
    """Name what is lossy about a choice: fp8, fast, fp8+fast; None for nothing."""
    weights = [] if precision is None or precision is WeightPrecision.BF16 else [precision.value]
    steps = [] if cache is CacheMode.OFF else [cache.value]
    return "+".join((*weights, *steps)) or None


def verdict_file(folder: Path, profile: str) -> Path:
    """Return where the verdict on a profile is kept."""
    return folder / f"{profile}.json"


def doubt(folder: Path, profile: str, mode: str, device_name: str) -> str | None:
    """Say why a lossy mode is not known to be good on a device; None: it was judged good on one of that name."""
    file = verdict_file(folder, profile)
    try:
        verdict = json.loads(file.read_text())
        judged_on, found = verdict["device_name"], verdict["modes"].get(mode)
        passed = found is not None and found["passed"] is True
    except FileNotFoundError:
        return f"there is no {file}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return f"{file} cannot be read"
    if judged_on != device_name:
        return f"{file} is about another device, {judged_on}"
    if found is None:
        return f"{file} has no verdict on it"
    return None if passed else f"{file} says that it did not pass"
