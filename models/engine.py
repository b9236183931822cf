"""The protocol every engine keeps: local cards, hosted endpoints, and the fake for tests.

An engine is fed from any thread and stepped by exactly one. One `step()` does one thing (encode newcomers, one
forward over all active rows, or decode what is finished), so a newcomer waits one step and a cancelled row leaves
after one, and the caller sees each stage begin and end. A hosted engine's step waits a moment for what its calls bring.
"""

from typing import Protocol, runtime_checkable

from models.loras import Lora
from models.profiles import Profile
from models.requests import PictureRequest, StepReport


@runtime_checkable
class Engine(Protocol):
    """Draws pictures for requests, several in one forward. Every submitted key gets exactly one outcome."""

    profile: Profile
    max_batch: int

    def submit(self, request: PictureRequest) -> None:
        """Queue a picture. Thread-safe. Raises RequestRefused: nothing was queued."""

    def cancel(self, key: str) -> None:
        """Give a picture up; its Cancelled comes from the next step. Thread-safe; unknown keys are ignored."""

    def preview(self, key: str) -> None:
        """Ask for one preview of a picture: made in its next step, it comes with that report or one soon after.

        Thread-safe; unknown keys are ignored. It is left out where memory or time is short: only pictures count.
        """

    def step(self) -> StepReport:
        """Do the next piece of work: decide, compute, record. One thread only.

        Returns at once with stage "idle" when there is nothing to do. Raises CardFailed when the device is broken.
        """

    def free_rows(self) -> int:
        """How many more requests of the current size would be drawn at once.

        That is max_batch, or fewer rows where memory allows no more, less what waits and what is active. None while a
        hosted endpoint is known to draw nothing.
        """

    def has_work(self) -> bool:
        """Whether `step` would do something."""

    def live_keys(self) -> tuple[str, ...]:
        """The keys that have no outcome yet, oldest first."""

    def current_size(self) -> tuple[int, int] | None:
        """The size (width, height) that a request must have to join without waiting for others; None: any."""

    def current_loras(self) -> tuple[Lora, ...] | None:
        """The LoRAs, as `models.loras.applied` gives them, that it must have for that; None: any."""

    def warm_up(self) -> None:
        """Run everything once at the default size, so the first picture is not slower than the others.

        Finds out how many rows fit. Raises OutOfMemory when one alone does not, CardFailed when nothing works.
        """

    def is_preparing(self) -> bool:
        """Whether the step in progress has to compile code first, or did, which may take minutes. Thread-safe."""

    def close(self) -> None:
        """Give up every live sample without outcome and free the device. Later submits raise EngineClosed.

        Closing again does nothing.
        """
