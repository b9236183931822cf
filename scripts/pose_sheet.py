"""Draw every pose of the library on one sheet, its map beside its preview: docs/pose-library.png.

Run it after changing the library, and look at the sheet. It keeps 256 colours, chosen from the figures rather than
from the paper around them, so that it stays small in the repository.
"""

import sys
from pathlib import Path

from PIL import Image

from posegen.poses import contact_sheet, draw_pose, draw_preview, read_library
from posegen.poses.skeleton import JOINT_COLOURS, LIMB_SHADE

SHEET = Path(__file__).resolve().parent.parent / "docs" / "pose-library.png"
CELL_PX = 190
COLUMNS = 7


def main() -> None:
    """Write the sheet, to the path given or into docs."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SHEET
    library = read_library()
    categories = {category.slug: category for category in library.categories}
    cells = []
    for authored in library.poses:
        category = categories[authored.category]
        shelf = categories[category.parent] if category.parent else category
        pictures = [draw(authored.pose, CELL_PX, CELL_PX) for draw in (draw_pose, draw_preview)]
        cells.append((pictures, f"{authored.name} · {shelf.display_name}"))
    sheet = contact_sheet(cells, columns=COLUMNS, cell_px=CELL_PX)
    sheet.quantize(palette=_palette(sheet), dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{len(cells)} poses, {sheet.width}x{sheet.height}, {target.stat().st_size // 1024} KiB: {target}")


def _palette(sheet: Image.Image) -> Image.Image:
    """Return the colours of the maps, exactly, and the others that are most used."""
    maps = [shaded for r, g, b in JOINT_COLOURS for shaded in ((r, g, b), _limb(r, g, b))]
    others = sheet.quantize(256 - len(maps), method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in maps for channel in colour] + others)
    return palette


def _limb(r: int, g: int, b: int) -> tuple[int, int, int]:
    return int(r * LIMB_SHADE), int(g * LIMB_SHADE), int(b * LIMB_SHADE)


if __name__ == "__main__":
    main()
