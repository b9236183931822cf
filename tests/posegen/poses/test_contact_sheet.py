import pytest
from PIL import Image

from posegen.poses import SheetRefused, contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colours(sheet):
    return {colour for _, colour in sheet.getcolors(1_000_000)}


def test_every_picture_is_on_the_sheet_beside_its_partner():
    pair = [Image.new("RGB", (64, 64), RED), Image.new("RGB", (64, 64), BLUE)]
    sheet = contact_sheet([(pair, "both")], columns=3, cell_px=64)
    assert {RED, BLUE} <= colours(sheet)
    assert sheet.width > 2 * 64


def test_a_tall_picture_keeps_its_shape():
    sheet = contact_sheet([(Image.new("RGB", (50, 100), RED), "")], columns=1, cell_px=100)
    red = sum(count for count, colour in sheet.getcolors(1_000_000) if colour == RED)
    assert red == 50 * 100


def test_cells_fill_rows_from_the_left():
    cell = (Image.new("RGB", (32, 32), RED), "pose")
    one, five = (contact_sheet([cell] * n, columns=4, cell_px=32) for n in (4, 5))
    assert one.width == five.width
    assert five.height > one.height


def test_a_long_caption_does_not_run_into_its_neighbour():
    image = Image.new("RGB", (64, 64), RED)
    sheet = contact_sheet([(image, "a very long caption " * 20), (image, "")], columns=2, cell_px=64)
    right = sheet.crop((12 + 64 + 4, 12 + 64, sheet.width, sheet.height))
    assert len(colours(right)) == 1


@pytest.mark.parametrize(("count", "columns", "cell_px"), [(0, 1, 64), (1, 0, 64), (1, 1, 4)])
def test_a_sheet_of_nothing_is_refused(count, columns, cell_px):
    with pytest.raises(SheetRefused):
        contact_sheet([(Image.new("RGB", (8, 8)), "")] * count, columns=columns, cell_px=cell_px)
