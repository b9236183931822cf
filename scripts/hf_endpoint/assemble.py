"""Lay out the repository of a Hugging Face endpoint: `python scripts/hf_endpoint/assemble.py FOLDER`.

The folder is then what is uploaded as a private model repository (docs/hosted.md): the handler, what it needs, and
`models/`, of this very version. What else lies in it (weights, loras) is left alone.
"""

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"


def main() -> int:
    """Copy the files and say where they are."""
    parser = argparse.ArgumentParser(description="Lay out the repository of a Hugging Face endpoint.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("handler.py", "requirements.txt"):
        shutil.copyfile(HERE / name, folder / name)
    code = folder / "models"
    if code.exists():
        shutil.rmtree(code)
    shutil.copytree(MODELS, code, ignore=shutil.ignore_patterns("__pycache__"))
    print(f"{folder} is ready to be uploaded; see docs/hosted.md for what comes next.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
