"""The mannequin's networks as they are before any training, exported where a test wants the weights to be."""

from pathlib import Path

import torch
from mannequin_detector import write_detector
from mannequin_networks import build_autoencoder, build_denoisers, export

from models.library_noise import quiet_libraries
from models.mannequin import DETECTOR
from models.mannequin.detector import Network


def write_untrained(folder: Path) -> Path:
    """Write an export; returns the folder."""
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(1)
        write_detector(folder / DETECTOR, Network())
        export(folder, build_autoencoder(), build_denoisers())
    return folder
