"""Photos that customers upload: checked by their bytes, never by what they are called, and drawn anew.

What is stored is our own encoding of the decoded pixels, upright and without any metadata: no place, no comment, no
second file behind the first, nothing that a later reader could trip over.

A photo of the largest size takes 300 MB and seconds to check, so few are checked at once and few more wait; and a JPEG
may hold its pixels in scans of a few bytes that each go over all of them, so their number is limited, not only sizes.
"""

import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms, ImageOps

from posegen.errors import BadInput, FieldProblem, TooBusy, TooLarge, UnsupportedMedia

MOST_BYTES = 10 * 1024 * 1024
LEAST_SIDE_PX = 512
MOST_SIDE_PX = 4096
THUMBNAIL_PX = 384
THUMBNAIL_TYPE = "image/webp"
LONGEST_NAME = 255
MOST_JPEG_SCANS = 100
"""A progressive JPEG has ten or so. One of 33 bytes over 4096x4096 pixels took 40 ms: ten megabytes of them, hours."""
CHECKED_AT_ONCE = 2
MOST_IN_LINE = 10
"""Of threads that serve requests, so many may wait for or check a photo; there are 40."""
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_END_OF_IMAGE, _START_OF_SCAN, _WITHOUT_LENGTH = 0xD9, 0xDA, (0x01, 0xD8)
_NAME_TRICKS = re.compile(r"[/\\\x00-\x1f\x7f]|^\.\.?$")
_QUALITY = 95
_THUMBNAIL_QUALITY = 82
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow's readers raise for bytes that are not what they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo that was checked and encoded anew, with a WebP thumbnail of at most THUMBNAIL_PX a side."""

    content: bytes
    content_type: str
    suffix: str
    width_px: int
    height_px: int
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class _Kind:
    """One accepted format: Pillow's name for it, the content type and the ending of its files."""

    name: str
    content_type: str
    suffix: str


_JPEG = _Kind("JPEG", "image/jpeg", "jpg")
_PNG = _Kind("PNG", "image/png", "png")
_WEBP = _Kind("WEBP", "image/webp", "webp")


class PhotoLine:
    """The line in which uploads of one process wait until they are checked. Thread-safe."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MOST_IN_LINE)
        self._checking = threading.BoundedSemaphore(CHECKED_AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Run a block that reads and checks a photo when it is its turn. Raises TooBusy when the line is full."""
        if not self._places.acquire(blocking=False):
            raise TooBusy
        try:
            with self._checking:
                yield
        finally:
            self._places.release()


def check_photo(content: bytes, *, file_name: str | None, field: str = "image") -> Photo:
    """Return the photo, upright and without metadata. `field` is the upload's name on the wire.

    Raises TooLarge (bytes or pixels), UnsupportedMedia (no JPEG, PNG or WebP), and BadInput for a name with a path, a
    picture that cannot be decoded, an animation, or sides outside 512..4096 px.
    """
    _check_name(file_name, field)
    if len(content) > MOST_BYTES:
        raise TooLarge(f"A photo has at most {MOST_BYTES // 1024 // 1024} MB.", field)
    kind = _kind(content, field)
    picture = _decoded(content, kind, field)
    saved = BytesIO()
    if kind is _PNG:
        picture.save(saved, format="PNG", compress_level=4)
    else:
        picture.save(saved, format=kind.name, quality=_QUALITY, **({"subsampling": 0} if kind is _JPEG else {}))
    small = picture.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    thumbnail = BytesIO()
    small.save(thumbnail, format="WEBP", quality=_THUMBNAIL_QUALITY, method=4)
    return Photo(
        content=saved.getvalue(),
        content_type=kind.content_type,
        suffix=kind.suffix,
        width_px=picture.width,
        height_px=picture.height,
        thumbnail=thumbnail.getvalue(),
    )


def _check_name(file_name: str | None, field: str) -> None:
    """Refuse a name that tries to be a path. The name is used for nothing, but who sends one means harm."""
    if file_name and (len(file_name) > LONGEST_NAME or _NAME_TRICKS.search(file_name)):
        raise _refused("The file's name may not hold a path; name it like photo.jpg.", field)


def _kind(content: bytes, field: str) -> _Kind:
    """Return the format by its first bytes."""
    if content.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _WEBP
    if not content:
        raise UnsupportedMedia("This file is empty; choose a photo.", field)
    raise UnsupportedMedia("A photo is a JPEG, PNG or WebP file; this is none of them.", field)


def _decoded(content: bytes, kind: _Kind, field: str) -> Image.Image:
    """Return the pixels: upright, RGB (or RGBA where there is transparency), in sRGB."""
    with _broken_told(field), Image.open(BytesIO(content), formats=[kind.name]) as opened:
        _check_sides(opened.width, opened.height, field)
        # A JPEG with several pictures is a camera's preview or depth map; the first one is the photo.
        if kind is not _JPEG and getattr(opened, "is_animated", False):
            raise _refused("A photo stands still; this is an animation. Send one picture of it.", field)
        if kind is _JPEG and _scans_of(content) > MOST_JPEG_SCANS:
            raise _refused(f"This JPEG has more than {MOST_JPEG_SCANS} scans; save it again and retry.", field)
        opened.load()
        upright = ImageOps.exif_transpose(opened)
        transparent = upright.has_transparency_data and kind is not _JPEG
        plain = _in_srgb(upright).convert("RGBA" if transparent else "RGB")
    bare = Image.new(plain.mode, plain.size)  # nothing but pixels comes along
    bare.paste(plain)
    return bare


def _check_sides(width_px: int, height_px: int, field: str) -> None:
    if width_px * height_px > MOST_SIDE_PX * MOST_SIDE_PX:
        raise TooLarge(f"A photo has at most {MOST_SIDE_PX}x{MOST_SIDE_PX} pixels, not {width_px}x{height_px}.", field)
    if min(width_px, height_px) < LEAST_SIDE_PX or max(width_px, height_px) > MOST_SIDE_PX:
        sides = f"{LEAST_SIDE_PX} to {MOST_SIDE_PX} pixels a side"
        raise _refused(f"A photo has {sides}, not {width_px}x{height_px}.", field)


def _scans_of(content: bytes) -> int:
    """Count the scans of a JPEG's first picture, going from marker to marker as its decoder does (ITU-T T.81, B.1)."""
    scans, at = 0, 2
    while (found := _NEXT_MARKER.search(content, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        if marker not in _WITHOUT_LENGTH:
            at += int.from_bytes(content[at : at + 2], "big")
    return scans


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Return the picture with its colour profile applied, since the profile is not kept; a broken one is ignored."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in {"RGB", "RGBA", "CMYK", "L"}:
        return picture
    target = picture.mode if picture.mode in {"RGB", "RGBA"} else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted


@contextmanager
def _broken_told(field: str) -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"A photo has at most {MOST_SIDE_PX}x{MOST_SIDE_PX} pixels.", field) from error
    except _BROKEN as error:
        raise _refused(
            "This photo cannot be read; it may be broken or cut off. Save it again and retry.", field
        ) from error


def _refused(message: str, field: str) -> BadInput:
    return BadInput(message, [FieldProblem(field=field, message=message)])
