"""Photos as customers upload them, made in code: every format, orientation, trick and bomb."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image

RED, BLUE = (200, 30, 30), (30, 30, 200)


def picture(width: int = 640, height: int = 512, mode: str = "RGB") -> Image.Image:
    """Red above, blue below."""
    made = Image.new("RGB", (width, height), BLUE)
    made.paste(RED, (0, 0, width, height // 2))
    return made.convert(mode)


def photo(format_: str = "JPEG", *, width: int = 640, height: int = 512, mode: str = "RGB", **options: Any) -> bytes:
    saved = BytesIO()
    picture(width, height, mode).save(saved, format=format_, **options)
    return saved.getvalue()


def scan_bomb(repeats: int, *, width: int = 512, height: int = 512) -> bytes:
    """A progressive JPEG whose last scan, a few bytes, stands there so many times more."""
    whole = photo(width=width, height=height, progressive=True)
    end = whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[whole.rindex(b"\xff\xda") : end] * repeats + whole[end:]


def animation(format_: str) -> bytes:
    saved = BytesIO()
    frames = [picture(512, 512), picture(512, 512).rotate(90)]
    frames[0].save(saved, format=format_, save_all=True, append_images=frames[1:], duration=100)
    return saved.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
