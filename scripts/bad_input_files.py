"""Pictures for uploads, made by code: a good one, and those that must be refused."""

import struct
import zlib
from io import BytesIO

from PIL import Image


def picture(kind: str, width_px: int = 640, height_px: int = 512) -> bytes:
    """Return a plain picture as a file of this kind."""
    saved = BytesIO()
    Image.new("RGB", (width_px, height_px), (120, 150, 190)).save(saved, format=kind)
    return saved.getvalue()


def animation() -> bytes:
    """Return a WebP of two frames."""
    saved = BytesIO()
    frames = [Image.new("RGB", (512, 512), colour) for colour in ((200, 30, 30), (30, 30, 200))]
    frames[0].save(saved, format="WEBP", save_all=True, append_images=frames[1:], duration=100)
    return saved.getvalue()


def bomb(side_px: int) -> bytes:
    """Return a PNG of a few bytes that says it is this large."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
