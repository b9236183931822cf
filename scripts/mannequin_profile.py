"""Exported mannequin weights that are not in the package, or not yet, opened as the engine opens the package's own."""

from pathlib import Path

import torch

from models.inflight import InflightEngine
from models.loading import load_components
from models.memory_plan import Plan
from models.profiles import MANNEQUIN
from models.runner import FluxRunner
from models.velocity_cache import CacheMode
from models.weights import BASE, CONTROLNET, WeightFolders


def open_mannequin(
    folder: Path, *, max_batch: int = 4, cache: CacheMode = CacheMode.OFF, plan: Plan | None = None
) -> InflightEngine:
    """Load exported weights for the CPU, in fp32 unless a plan says otherwise. Raises what the loader raises."""
    folders = WeightFolders(base=folder / BASE, controlnet=folder / CONTROLNET)
    components = load_components(folders, torch.device("cpu"), MANNEQUIN, plan=plan)
    return InflightEngine(FluxRunner(MANNEQUIN, components), max_batch, cache=cache)
