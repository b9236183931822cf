"""The built-in demonstration model: FLUX's own classes, small, trained here on drawn mannequins (docs/mannequin.md).

Its weights travel in the package, so nothing is downloaded and nothing is built. Where they were left out of a copy of
this repository, everything else works and the `tiny` profile is what stands in (see `profiles.built_in`).
Torch-free; `detector` is not.
"""

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Where train_mannequin.py's export goes: base/ and controlnet/ as FLUX's repositories are laid out, and detector/."""
DETECTOR = "detector"
INDEX = "model_index.json"


def weights_are_there() -> bool:
    """Tell whether this package has the trained weights: the index is the last file that an export writes."""
    return (WEIGHTS / "base" / INDEX).is_file()
