"""How exported mannequin weights are drawn with: a profile of the engine's own kind, and an engine that is loaded."""

from dataclasses import replace
from pathlib import Path

import torch
from mannequin_recipe import SIDE_PX, TEXT_TOKENS

from models.checking import check_weights
from models.footprints import footprint_of
from models.inflight import InflightEngine
from models.loading import load_components
from models.profiles import TINY, Profile
from models.runner import FluxRunner
from models.weights import BASE, CONTROLNET, WeightFolders

CONTROL_SCALE, CONTROL_END, STEPS = 1.0, 1.0, 12


def mannequin_profile(folders: WeightFolders) -> Profile:
    """Return the profile of exported weights; its footprint is read from their configurations."""
    known = replace(
        TINY,
        name="mannequin",
        title="Built-in demonstration model (FLUX's classes, small, trained on drawn mannequins)",
        sizes=((SIDE_PX, SIDE_PX),),
        default_size=(SIDE_PX, SIDE_PX),
        default_steps=STEPS,
        default_control_scale=CONTROL_SCALE,
        default_control_end=CONTROL_END,
        text_tokens=TEXT_TOKENS,
    )
    checked = check_weights(known, folders)
    return replace(
        known,
        footprint=footprint_of(
            transformer=checked.transformer.config,
            controlnet=checked.controlnet.config,
            vae=checked.vae.config,
            text_encoder=checked.text_encoder.config,
            text_encoder_2=checked.text_encoder_2.config,
        ),
    )


def open_mannequin(folder: Path, *, max_batch: int = 4) -> InflightEngine:
    """Load exported weights for the CPU, in fp32 as every engine there. Raises what the loader raises."""
    folders = WeightFolders(base=folder / BASE, controlnet=folder / CONTROLNET)
    profile = mannequin_profile(folders)
    return InflightEngine(FluxRunner(profile, load_components(folders, torch.device("cpu"), profile)), max_batch)
