"""A labelled grid of pictures: the pose library at a glance, or an order's poses beside the pictures drawn from them.

Pillow and its built-in font only, so a sheet looks the same on every machine.
"""

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from posegen.poses.errors import SheetRefused
from posegen.poses.skeleton import RGB

_PAPER: Final[RGB] = (250, 249, 247)
_INK: Final[RGB] = (38, 42, 51)
_EMPTY: Final[RGB] = (232, 230, 226)
_GAP_PX: Final = 12
_BETWEEN_PX: Final = 4

Cell = tuple[Image.Image | Sequence[Image.Image], str]


def contact_sheet(cells: Sequence[Cell], *, columns: int, cell_px: int) -> Image.Image:
    """Return a grid of the cells: their pictures side by side, each fitted into cell_px x cell_px, the caption below.

    Pictures keep their shape. A cell with fewer pictures than the widest leaves its last places empty. Captions that
    are too long end in an ellipsis. Raises SheetRefused when there is nothing to show.
    """
    if not cells or columns < 1 or cell_px < 16:
        raise SheetRefused("A contact sheet needs at least one cell, one column and cells of 16 pixels.")
    pictures = [[image] if isinstance(image, Image.Image) else list(image) for image, _ in cells]
    across = max(1, *(len(images) for images in pictures))
    font = ImageFont.load_default(size=max(10.0, cell_px / 16))
    line_px = round(max(10.0, cell_px / 16) * 1.9)
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    block_px = across * cell_px + (across - 1) * _BETWEEN_PX
    sheet = Image.new(
        "RGB",
        (columns * (block_px + _GAP_PX) + _GAP_PX, rows * (cell_px + line_px + _GAP_PX) + _GAP_PX),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for index, (images, (_, caption)) in enumerate(zip(pictures, cells, strict=True)):
        row, column = divmod(index, columns)
        left = _GAP_PX + column * (block_px + _GAP_PX)
        top = _GAP_PX + row * (cell_px + line_px + _GAP_PX)
        for place in range(across):
            x = left + place * (cell_px + _BETWEEN_PX)
            draw.rectangle((x, top, x + cell_px - 1, top + cell_px - 1), fill=_EMPTY)
            if place < len(images):
                fitted = _fitted(images[place], cell_px)
                sheet.paste(fitted, (x + (cell_px - fitted.width) // 2, top + (cell_px - fitted.height) // 2))
        text = _shortened(caption, font, block_px)
        draw.text((left + block_px / 2, top + cell_px + line_px / 2), text, fill=_INK, font=font, anchor="mm")
    return sheet


def _fitted(image: Image.Image, side_px: int) -> Image.Image:
    scale = side_px / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most_px: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= most_px:
        return text
    while text and font.getlength(text + "…") > most_px:
        text = text[:-1]
    return text.rstrip() + "…"
