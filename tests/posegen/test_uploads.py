"""Photos that customers upload: what is accepted, what is stored of it, and what is refused with which words."""

import random
import threading
from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image, ImageCms, PngImagePlugin
from support.photos import BLUE, RED, animation, claimed_png, photo, picture, scan_bomb
from support.waiting import wait_until

from posegen.errors import BadInput, TooBusy, TooLarge, UnsupportedMedia
from posegen.uploads import CHECKED_AT_ONCE, MOST_BYTES, MOST_IN_LINE, THUMBNAIL_PX, Photo, PhotoLine, check_photo


def check(content: bytes, name: str | None = "photo.jpg") -> Photo:
    return check_photo(content, file_name=name)


def opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def close(found: object, wanted: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(found, wanted, strict=True))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("format_", "content_type", "suffix"),
    [("JPEG", "image/jpeg", "jpg"), ("PNG", "image/png", "png"), ("WEBP", "image/webp", "webp")],
)
def test_a_photo_of_each_format_is_kept_in_it(format_: str, content_type: str, suffix: str) -> None:
    kept = check(photo(format_))

    assert (kept.content_type, kept.suffix, kept.width_px, kept.height_px) == (content_type, suffix, 640, 512)
    stored = opened(kept.content)
    assert (stored.format, stored.size) == (format_, (640, 512))
    assert close(stored.getpixel((320, 100)), RED)
    assert close(stored.getpixel((320, 400)), BLUE)


def test_the_thumbnail_is_a_small_webp_of_the_same_shape() -> None:
    thumbnail = opened(check(photo(width=1024, height=512)).thumbnail)

    assert (thumbnail.format, thumbnail.size) == ("WEBP", (THUMBNAIL_PX, THUMBNAIL_PX // 2))


def test_a_photo_taken_on_its_side_is_stored_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise

    kept = check(photo(exif=exif))

    assert (kept.width_px, kept.height_px) == (512, 640)
    stored = opened(kept.content)
    assert stored.size == (512, 640)
    assert close(stored.getpixel((500, 320)), RED)
    assert close(stored.getpixel((10, 320)), BLUE)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_nothing_but_the_picture_is_kept(format_: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a secret camera"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 0.0)  # where it was taken
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif, "icc_profile": profile}
    if format_ == "PNG":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", "a secret camera")
        options["pnginfo"] = notes
    given = photo(format_, **options) + b"a secret camera, and a second file"
    assert b"secret camera" in given

    stored = opened(check(given).content)

    assert b"secret" not in check(given).content
    assert not stored.getexif()
    assert not {"exif", "icc_profile", "comment", "xmp", "Comment"} & set(stored.info)


def test_colours_of_another_profile_are_brought_to_ours() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    broken = check(photo("PNG", icc_profile=b"no profile at all")).content

    assert opened(check(photo("PNG", icc_profile=lab)).content).getpixel((10, 10)) == RED  # a profile that does not fit
    assert opened(broken).getpixel((10, 10)) == RED


@pytest.mark.parametrize(
    ("format_", "mode", "kept"),
    [
        ("PNG", "RGBA", "RGBA"), ("PNG", "L", "RGB"), ("PNG", "P", "RGB"), ("PNG", "1", "RGB"), ("PNG", "I;16", "RGB"),
        ("PNG", "LA", "RGBA"), ("JPEG", "L", "RGB"), ("JPEG", "CMYK", "RGB"), ("WEBP", "RGBA", "RGBA"),
    ],
)  # fmt: skip
def test_every_kind_of_pixel_becomes_plain_colour(format_: str, mode: str, kept: str) -> None:
    stored = opened(check(photo(format_, mode=mode)).content)

    assert stored.convert(kept).mode == kept
    assert stored.mode in {"RGB", "RGBA"}


def test_a_photo_of_a_phone_with_a_second_picture_inside_is_accepted() -> None:
    saved = BytesIO()
    picture(512, 512).save(saved, format="MPO", save_all=True, append_images=[picture(512, 512, "L").convert("RGB")])

    assert check(saved.getvalue()).content_type == "image/jpeg"


@pytest.mark.parametrize("side", [(512, 512), (512, 4096), (4096, 4096)])
def test_the_allowed_sides_are_allowed(side: tuple[int, int]) -> None:
    kept = check(photo("WEBP" if side[0] < 4096 else "JPEG", width=side[0], height=side[1]))

    assert (kept.width_px, kept.height_px) == side


@pytest.mark.parametrize("side", [(511, 600), (600, 511), (1, 1), (4097, 600), (600, 4097)])
def test_sides_outside_are_refused_by_their_numbers(side: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=f"{side[0]}x{side[1]}") as refused:
        check(photo("PNG", width=side[0], height=side[1]))

    assert [problem.field for problem in refused.value.problems] == ["image"]


@pytest.mark.parametrize("side", [5000, 10_000, 20_000, 65_000])
def test_a_picture_that_says_it_is_huge_is_refused_before_it_is_read(side: int) -> None:
    with pytest.raises(TooLarge):
        check(claimed_png(side, side))


def test_more_than_ten_megabytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="10 MB"):
        check(photo() + b"\0" * MOST_BYTES)


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a" + b"\0" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\0" * 1000,
     b"RIFF\0\0\0\0WAVEfmt "],
    ids=["empty", "gif", "svg", "pdf", "zeros", "wave"],
)  # fmt: skip
def test_other_formats_are_refused_whatever_they_are_called(content: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        check(content, "photo.jpg")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_photo_that_is_cut_off_is_refused(format_: str) -> None:
    whole = photo(format_, width=1024, height=1024)

    for length in (20, len(whole) // 2, len(whole) - len(whole) // 10):
        with pytest.raises(BadInput):
            check(whole[:length])


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_broken_bytes_are_refused_or_read_and_never_anything_else(format_: str) -> None:
    chance = random.Random(7)
    whole = photo(format_, width=512, height=512)
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            broken[chance.randrange(12, min(len(broken), 400))] = chance.randrange(256)
        with suppress(BadInput):
            assert check(bytes(broken)).width_px >= 512


def test_a_jpeg_of_many_scans_is_refused_before_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = scan_bomb(5000)

    def never(_self: Image.Image) -> None:
        raise AssertionError("a scan was drawn")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(BadInput, match="100 scans"):
        check(bomb)


def test_progressive_jpegs_and_those_with_others_in_them_or_behind_them_are_photos() -> None:
    another = scan_bomb(200)
    exif = Image.Exif()
    exif[0x010F] = another.decode("latin-1")  # as a camera keeps its preview in front

    for content in (scan_bomb(80), photo(exif=exif, progressive=True), photo() + another, photo(restart_marker_rows=1)):
        assert check(content).width_px >= 512


def test_few_photos_are_checked_at_once_and_few_wait() -> None:
    line, most, lock = PhotoLine(), [0, 0], threading.Lock()
    all_in, done = threading.Barrier(MOST_IN_LINE + 1), threading.Event()

    def check_one() -> None:
        all_in.wait(20)
        with line.turn():
            with lock:
                most[0] += 1
                most[1] = max(most)
            done.wait(20)
            with lock:
                most[0] -= 1

    threads = [threading.Thread(target=check_one) for _ in range(MOST_IN_LINE)]
    for thread in threads:
        thread.start()
    all_in.wait(20)
    wait_until(lambda: not _has_place(line))
    done.set()
    for thread in threads:
        thread.join(20)

    assert most == [0, CHECKED_AT_ONCE]
    assert _has_place(line)


def _has_place(line: PhotoLine) -> bool:
    try:
        with line.turn():
            return True
    except TooBusy:
        return False


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_an_animation_is_refused(format_: str) -> None:
    with pytest.raises(BadInput, match="animation"):
        check(animation(format_))


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.jpg", "a/b.jpg", "C:\\a.jpg", "..", "a\0.jpg", "a\n.jpg", "x" * 256]
)
def test_a_name_with_a_path_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="path"):
        check(photo(), name)


@pytest.mark.parametrize("name", [None, "", "photo.jpg", "Ünïcode foto (1)..png", ".hidden"])
def test_any_other_name_is_fine(name: str | None) -> None:
    assert check(photo(), name).width_px == 640
