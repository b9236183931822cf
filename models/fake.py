"""An engine without torch, for tests of the domain, of trouble and of load: same decisions, pictures drawn by hash.

It keeps the Engine protocol through the same `SteppedEngine` as the real one, so whatever it does with batches,
cancellations, memory and bad pictures is what the real one does. Its pictures depend on prompt, seed and control.
"""

import hashlib
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.arrival import Decoded, Glimpses
from models.errors import CardFailed
from models.loras import applied
from models.profiles import Profile
from models.requests import PictureRequest
from models.sample import Sample
from models.stepping import DoesNotFit, SteppedEngine
from models.velocity_cache import CacheMode

_ASKED = re.compile(r"trouble-(\w+)")


class FakeTrouble(StrEnum):
    """What can be made to happen when a picture is in a forward."""

    OOM = "oom"  # every forward with this key runs out of memory, alone too
    CROWDED = "crowded"  # a forward with this key fits only when it is alone
    NAN = "nan"  # the picture is NaN on every try
    NAN_ONCE = "nan_once"  # the picture is NaN unless precise
    BLACK = "black"  # the picture is black on every try
    CRASH = "crash"  # step() raises CardFailed, as after an illegal memory access
    LOST = "lost"  # step() raises CardFailed, as for a card that fell off the bus
    VANISH = "vanish"  # the process is gone at once, as after a fault in native code


class FakeEngine(SteppedEngine):
    """An Engine that only pretends. Settable at any time: step_s, encode_s, decode_s and trouble.

    trouble: by key. With prompts_trouble a prompt asks for it too: `trouble-nan` somewhere in it.
    forwards: the keys of every forward so far, for tests to look at.
    """

    def __init__(
        self,
        profile: Profile,
        max_batch: int = 4,
        step_s: float = 0.0,
        *,
        cache: CacheMode = CacheMode.OFF,
        encode_s: float = 0.0,
        decode_s: float = 0.0,
        trouble: Mapping[str, FakeTrouble | str] | None = None,
        prompts_trouble: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(profile, max_batch, cache)
        self.step_s = step_s
        self.encode_s = encode_s
        self.decode_s = decode_s
        self.trouble = {key: FakeTrouble(kind) for key, kind in (trouble or {}).items()}
        self.forwards: list[tuple[str, ...]] = []
        self._prompts_trouble = prompts_trouble
        self._sleep = sleep

    def encode(self, samples: Sequence[Sample]) -> None:
        """Take encode_s."""
        self._take(self.encode_s)
        for sample in samples:
            sample.tensors = "encoded"

    def forward(self, rows: Sequence[Sample]) -> None:
        """Take step_s, or make the trouble that was asked for."""
        kinds = {self._trouble_of(row) for row in rows}
        if FakeTrouble.VANISH in kinds:
            os.kill(os.getpid(), signal.SIGKILL)
        if FakeTrouble.CRASH in kinds:
            raise CardFailed("fake", "asked to crash")
        if FakeTrouble.LOST in kinds:
            raise CardFailed("fake", "asked to be lost", by_itself=True)
        if FakeTrouble.OOM in kinds or (FakeTrouble.CROWDED in kinds and len(rows) > 1):
            raise DoesNotFit
        self._take(self.step_s)
        self.forwards.append(tuple(row.key for row in rows))

    def coast(self, rows: Sequence[tuple[Sample, int]]) -> None:
        """Take no time."""

    def decode(self, samples: Sequence[Sample]) -> Decoded:
        """Take decode_s and draw the pictures."""
        self._take(self.decode_s)
        pixels = np.stack([self._picture(sample) for sample in samples])
        return Decoded(pixels=pixels, brightest=pixels.max(axis=(1, 2, 3)))

    def glimpse(self, rows: Sequence[Sample]) -> Glimpses:
        """Show every row in grey, from black to white with its steps."""
        width, height = (side // 8 for side in rows[0].request.size)
        shades = [round(255 * (row.steps_done + 1) / row.request.steps) for row in rows]
        return Glimpses(pixels=np.stack([np.full((height, width, 3), shade, dtype=np.uint8) for shade in shades]))

    def warm_up(self) -> None:
        """Nothing is cold here."""

    def _take(self, duration_s: float) -> None:
        if duration_s > 0:
            self._sleep(duration_s)

    def _trouble_of(self, sample: Sample) -> FakeTrouble | None:
        asked = _ASKED.search(sample.request.prompt) if self._prompts_trouble else None
        return FakeTrouble(asked[1]) if asked else self.trouble.get(sample.key)

    def _picture(self, sample: Sample) -> NDArray[np.float32]:
        kind = self._trouble_of(sample)
        request = sample.request
        pixels = draw_by_hash(request)
        if kind is FakeTrouble.NAN or (kind is FakeTrouble.NAN_ONCE and not request.precise):
            pixels[0, 0, 0] = np.nan
        if kind is FakeTrouble.BLACK:
            pixels[:] = 0
        return pixels


def draw_by_hash(request: PictureRequest) -> NDArray[np.float32]:
    """Draw a sky of two colours hashed from prompt, seed and LoRAs, with the control's limbs on it when it counts."""
    loras = "".join(f":{lora.name}={lora.strength:g}" for lora in applied(request.loras))
    digest = hashlib.sha256(f"{request.seed}:{request.prompt}{loras}".encode()).digest()
    top, bottom = (np.frombuffer(digest[at : at + 3], dtype=np.uint8).astype(np.float32) / 510 + 0.25 for at in (0, 3))
    fall = np.linspace(0, 1, request.height, dtype=np.float32)[:, None, None]
    column = top * (1 - fall) + bottom * fall
    pixels = np.repeat(column, request.width, axis=1).astype(np.float32)
    if request.control is not None and request.control_scale > 0 and request.control_end > 0:
        limbs = np.asarray(request.control, dtype=np.float32) / 255
        pixels = np.where(limbs.max(axis=2, keepdims=True) > 0, limbs, pixels)
    return np.ascontiguousarray(pixels, dtype=np.float32)
