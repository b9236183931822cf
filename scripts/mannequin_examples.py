"""Draw some of the mannequin's training pictures on one sheet: docs/mannequin-pictures.png."""

import sys
from pathlib import Path

from mannequin_pictures import TRAIN, make_sample
from mannequin_recipe import SEED, SIDE_PX
from PIL import Image

from posegen.poses import contact_sheet

SHEET = Path(__file__).resolve().parent.parent / "docs" / "mannequin-pictures.png"
_COUNT, _COLUMNS, _COLOURS = 32, 8, 200


def main() -> None:
    """Write the sheet, to the path given or into docs."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SHEET
    samples = [make_sample(TRAIN, SEED, index, SIDE_PX) for index in range(_COUNT)]
    cells = [([Image.fromarray(sample.rendered.pixels)], sample.family) for sample in samples]
    sheet = contact_sheet(cells, columns=_COLUMNS, cell_px=SIDE_PX)
    sheet.quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{_COUNT} pictures, {sheet.width}x{sheet.height}, {target.stat().st_size // 1024} KiB: {target}")


if __name__ == "__main__":
    main()
