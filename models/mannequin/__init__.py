"""The built-in demonstration model: FLUX's own classes, small, trained here on drawn mannequins (docs/mannequin.md).

Its weights travel in this package, so nothing is downloaded and nothing is built; MODEL_CARD.md says what they are. In
a copy without them everything else works, and `tiny` draws where nothing else was asked for. This module is torch-free,
`detector` is not.
"""

from pathlib import Path

from models.errors import WeightsMissing
from models.profiles import MANNEQUIN, TINY, Profile
from models.weights import BASE, CONTROLNET, INDEX, WeightFolders

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""As `train_mannequin.py --stage export` writes it: base/ and controlnet/ like FLUX's repositories, and detector/."""
DETECTOR = "detector"
SCORES = "scores.json"
"""What the weights scored, and the least that they have to; written by `score_mannequin.py --keep`."""


def weights_are_there() -> bool:
    """Tell whether this package has the weights. The index is what an export writes last."""
    return (WEIGHTS / BASE / INDEX).is_file()


def packaged_weights() -> WeightFolders:
    """Find the weights in this package; what is in the folders is checked elsewhere. Raises WeightsMissing."""
    if not weights_are_there():
        remedy = "train them with scripts/train_mannequin.py --export models/mannequin/weights"
        raise WeightsMissing(MANNEQUIN.name, f"this package has none in {WEIGHTS}", remedy=remedy)
    return WeightFolders(base=WEIGHTS / BASE, controlnet=WEIGHTS / CONTROLNET)


def built_in_profile() -> Profile:
    """Return what is drawn with where nobody asked for anything and FLUX is not there."""
    return MANNEQUIN if weights_are_there() else TINY
