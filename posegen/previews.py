"""Previews on their way from a worker to a customer's sockets: what one message is, and how often one may be sent.

A preview is worth something for half a second: it is never stored, never sent twice and dropped by whoever is behind.
What arrives over Redis is believed as little as anything from outside: an odd message is ignored, and one on a user's
channel reaches that user's sockets only.
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PREVIEWS_A_SECOND: Final = 2
"""For each user, over all pictures, sockets and workers."""
PREVIEW_PX: Final = 192
"""The longer side of a preview, at most."""
MIME_TYPE: Final = "image/webp"
_MOST_HEADER_BYTES = 1024
_MOST_IMAGE_BYTES = 48 * 1024
MOST_MESSAGE_BYTES: Final = _MOST_HEADER_BYTES + _MOST_IMAGE_BYTES
_MOST_USERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewMessage:
    """One preview of one picture. image: WebP of width x height pixels; `step` of `steps` were done."""

    generation_id: str
    variation_key: str
    pose_library_id: str | None
    step: int
    steps: int
    width: int
    height: int
    image: bytes

    def on_the_wire(self) -> dict[str, Any]:
        """Return the event as the frontend reads it; `image` travels as bytes."""
        return {**self._header(), "mimeType": MIME_TYPE, "image": self.image}

    def to_bytes(self) -> bytes:
        """Return the message for Redis: a line of JSON, then the image."""
        return json.dumps(self._header()).encode() + b"\n" + self.image

    def _header(self) -> dict[str, Any]:
        return {
            "generationId": self.generation_id,
            "variationKey": self.variation_key,
            "poseLibraryId": self.pose_library_id,
            "step": self.step,
            "steps": self.steps,
            "width": self.width,
            "height": self.height,
        }


def read_preview(message: bytes) -> PreviewMessage | None:
    """Read what `to_bytes` wrote; None for anything else."""
    line, newline, image = message.partition(b"\n")
    if not newline or len(line) > _MOST_HEADER_BYTES or not _is_webp(image):
        return None
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    texts: list[Any] = [told.get(name) for name in ("generationId", "variationKey")]
    numbers: list[Any] = [told.get(name) for name in ("step", "steps", "width", "height")]
    pose_id = told.get("poseLibraryId")
    if not all(map(_is_text, texts if pose_id is None else [*texts, pose_id])) or not all(map(_is_count, numbers)):
        return None
    return PreviewMessage(
        generation_id=texts[0],
        variation_key=texts[1],
        pose_library_id=pose_id,
        step=numbers[0],
        steps=numbers[1],
        width=numbers[2],
        height=numbers[3],
        image=image,
    )


def _is_webp(image: bytes) -> bool:
    return len(image) <= _MOST_IMAGE_BYTES and image[:4] == b"RIFF" and image[8:12] == b"WEBP"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= 1000


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


class Turnstile:
    """Lets PREVIEWS_A_SECOND previews of each user through in any second. One thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passed: dict[str, deque[float]] = {}

    def is_open(self, user_id: str) -> bool:
        """Tell whether one more of this user may pass now."""
        times = self._passed.get(user_id)
        return times is None or len(times) < PREVIEWS_A_SECOND or self._clock() - times[0] >= 1.0

    def passes(self, user_id: str) -> bool:
        """Let one through, if it may."""
        if not self.is_open(user_id):
            return False
        if len(self._passed) >= _MOST_USERS:
            self._forget_the_idle()
        self._passed.setdefault(user_id, deque(maxlen=PREVIEWS_A_SECOND)).append(self._clock())
        return True

    def _forget_the_idle(self) -> None:
        now = self._clock()
        self._passed = {user_id: times for user_id, times in self._passed.items() if now - times[-1] < 1.0}
