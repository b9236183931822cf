"""Previews as a worker sends them, for tests."""

import io
from typing import Any

from PIL import Image

from posegen.previews import PreviewMessage


def webp(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (32, 24)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format="WEBP")
    return file.getvalue()


def a_preview(**changes: Any) -> PreviewMessage:
    plain: dict[str, Any] = {
        "generation_id": "g1",
        "variation_key": "standing-v0",
        "pose_library_id": "standing",
        "step": 3,
        "steps": 8,
        "width": 32,
        "height": 24,
        "image": webp(),
    }
    return PreviewMessage(**{**plain, **changes})


class Clock:
    """A clock that a test moves."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
