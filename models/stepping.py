"""The step every engine of ours takes: decide -> compute -> record. Engines differ only in how they compute.

Without torch, so that what happens on cancellation, lack of memory and bad pictures is the same in the fake and on a
card, and is tested in milliseconds.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from models.arrival import Decoded, Glimpses, flaw
from models.batching import Batching, Decision
from models.errors import BadPicture, OutOfMemory, RequestRefused
from models.loras import Lora
from models.profiles import Profile
from models.requests import Cancelled, Failed, Finished, Outcome, PictureRequest, Preview, Stage, StepReport
from models.sample import Sample
from models.velocity_cache import CacheMode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRIES = 2

Steps = tuple[tuple[str, int, int], ...]
"""(key, step_index, steps) of each, as StepReport has them."""


class DoesNotFit(Exception):
    """A computation ran out of memory; nothing moved and the engine is still usable.

    No ModelsError, because no caller of an engine ever sees it: it ends as a smaller batch or as OutOfMemory.
    """


class SteppedEngine(ABC):
    """An Engine whose decisions are `Batching`'s and whose computing is five methods. cache: what steps it skips."""

    def __init__(self, profile: Profile, max_batch: int, cache: CacheMode = CacheMode.OFF) -> None:
        self.profile = profile
        self.cache = cache
        self.batching = Batching(profile, max_batch)
        self.max_batch = max_batch
        self._forwards = 0
        self._prepares = False
        self._arriving: deque[tuple[tuple[Sample, ...], Decoded]] = deque()
        # Pictures, each with the step that its preview on the way is of.
        self._glimpsed: deque[tuple[tuple[tuple[Sample, int], ...], Glimpses]] = deque()

    @abstractmethod
    def encode(self, samples: Sequence[Sample]) -> None:
        """Give every sample its `tensors`. Raises DoesNotFit or RequestRefused: none has them."""

    @abstractmethod
    def forward(self, rows: Sequence[Sample]) -> None:
        """Move every row one Euler step. The caller counts the step. Raises DoesNotFit: none moved."""

    @abstractmethod
    def coast(self, rows: Sequence[tuple[Sample, int]]) -> None:
        """Move every row to the beginning of the step beside it, without networks; it is not there yet.

        The caller counts the steps. Raises DoesNotFit: none moved.
        """

    @abstractmethod
    def decode(self, samples: Sequence[Sample]) -> Decoded:
        """Turn denoised samples of one size into pixels, which may arrive later. Raises DoesNotFit."""

    @abstractmethod
    def glimpse(self, rows: Sequence[Sample]) -> Glimpses | None:
        """Show what the forward that was just done made of these rows, each of which had `wants_preview` before it.

        They may arrive later; None: this engine shows none. Raises DoesNotFit: the pictures themselves are well.
        """

    def step(self) -> StepReport:
        """Do the next piece of work; see Engine."""
        self._prepares = False
        decision = self.batching.decide()
        outcomes: list[Outcome] = [Cancelled(key=sample.key) for sample in decision.cancelled]
        started = time.perf_counter()
        rows: Steps = ()
        skipped: Steps | None = ()
        stage: Stage = "idle"
        if decision.to_encode:
            stage = "encode"
            self._encode(decision, outcomes)
        elif decision.to_decode:
            stage = "decode"
            self._decode(decision.to_decode, outcomes)
        elif decision.rows:
            stage = "step"
            skipped = self._skip(decision.rows, outcomes)
            rows = self._forward(decision.rows, outcomes, started) if skipped is not None else ()
        elif self._is_any_arriving():
            stage = "decode"
            self._arriving[0][1].wait()
        self._hand_out(outcomes)
        compute_s = time.perf_counter() - started
        return StepReport(
            outcomes=outcomes,
            rows=rows,
            compute_s=compute_s,
            step_no=self._forwards,
            stage=stage,
            previews=tuple(self._previews()),
            skipped=skipped or (),
        )

    def _encode(self, decision: Decision, outcomes: list[Outcome]) -> None:
        try:
            self.encode(decision.to_encode)
        except DoesNotFit:
            self._shrink(decision.rows, outcomes)
        except RequestRefused as e:  # what only shows when it is tried, such as a LoRA of an unknown layout
            self._refuse(decision.to_encode, e, outcomes)

    def _skip(self, rows: tuple[Sample, ...], outcomes: list[Outcome]) -> Steps | None:
        """Bring rows that are at skipped steps to their next full ones; None: it did not fit, some rows left."""
        ahead = [(row, row.next_full_step(self.cache)) for row in rows]
        coasting = [(row, until) for row, until in ahead if until > row.steps_done]
        if not coasting:
            return ()
        try:
            self.coast(coasting)
        except DoesNotFit:
            self._shrink(rows, outcomes)
            return None
        return tuple(row.skip() for row, until in coasting for _ in range(row.steps_done, until))

    def _forward(self, rows: tuple[Sample, ...], outcomes: list[Outcome], started: float) -> Steps:
        with_control = [row.wants_control() for row in rows]
        watched = tuple(row for row in rows if row.wants_preview)  # a wish that comes meanwhile is the next step's
        try:
            self.forward(rows)
        except DoesNotFit:
            self._shrink(rows, outcomes)
            return ()
        except RequestRefused as e:
            self._refuse(rows, e, outcomes)
            return ()
        self._forwards += 1
        self._glimpse(watched)
        self.batching.count_forward(rows)
        share_s = (time.perf_counter() - started) / len(rows)
        done = tuple(
            row.advance(with_control=control, share_s=share_s) for row, control in zip(rows, with_control, strict=True)
        )
        self.batching.leave_rows(tuple(row for row in rows if row.denoised))
        return done

    def _glimpse(self, rows: tuple[Sample, ...]) -> None:
        """Begin the previews of rows that were moved and not counted yet."""
        if not rows:
            return
        try:
            glimpses = self.glimpse(rows)
        except DoesNotFit:
            glimpses = None  # the wish is gone, the pictures go on
        for row in rows:
            row.wants_preview = False
        if glimpses is not None:
            self._glimpsed.append((tuple((row, row.steps_done) for row in rows), glimpses))

    def _previews(self) -> Iterator[Preview]:
        """Hand out the previews that arrived, of pictures that have no outcome yet; nobody waits for the others."""
        while self._glimpsed and self._glimpsed[0][1].are_there():
            shown, glimpses = self._glimpsed.popleft()
            for (sample, step_index), pixels in zip(shown, glimpses.pixels, strict=True):
                if self.batching.holds(sample):
                    yield Preview(key=sample.key, step_index=step_index, steps=sample.request.steps, pixels=pixels)

    def _refuse(self, samples: tuple[Sample, ...], error: RequestRefused, outcomes: list[Outcome]) -> None:
        self.batching.drop(samples)
        outcomes.extend(Failed(key=sample.key, error=error) for sample in samples)

    def _shrink(self, rows: tuple[Sample, ...], outcomes: list[Outcome]) -> None:
        if self.batching.halve_rows(rows):
            return
        self.batching.drop(rows)
        outcomes.extend(Failed(key=row.key, error=OutOfMemory(row.request.width, row.request.height)) for row in rows)

    def _decode(self, samples: tuple[Sample, ...], outcomes: list[Outcome]) -> None:
        try:
            decoded = self.decode(samples)
        except DoesNotFit:
            if len(samples) == 1:
                self._shrink(samples, outcomes)
            else:
                # The others are still to be decoded and come with the next steps.
                self._decode(samples[:1], outcomes)
            return
        self.batching.let_arrive(samples)
        self._arriving.append((samples, decoded))

    def _is_any_arriving(self) -> bool:
        """Whether a live picture is on its way; forgets the first ones that were cancelled on theirs."""
        while self._arriving and not any(map(self.batching.holds, self._arriving[0][0])):
            self._arriving.popleft()
        return bool(self._arriving)

    def _hand_out(self, outcomes: list[Outcome]) -> None:
        while self._is_any_arriving() and self._arriving[0][1].is_there():
            samples, decoded = self._arriving.popleft()
            for sample, pixels, brightest in zip(samples, decoded.pixels, decoded.brightest, strict=True):
                if self.batching.holds(sample):
                    self._judge(sample, pixels, flaw(float(brightest)), outcomes)

    def _judge(
        self, sample: Sample, pixels: "NDArray[np.float32]", reason: str | None, outcomes: list[Outcome]
    ) -> None:
        if reason is None:
            self.batching.drop((sample,))
            outcomes.append(self._finished(sample, pixels))
        elif sample.tries < TRIES:
            sample.start_over()
            self.batching.put_back((sample,))
        else:
            self.batching.drop((sample,))
            outcomes.append(Failed(key=sample.key, error=BadPicture(reason)))

    def _finished(self, sample: Sample, pixels: "NDArray[np.float32]") -> Finished:
        return Finished(
            key=sample.key,
            pixels=pixels,
            denoise_s=sample.denoise_s,
            steps_run=sample.steps_done,
            backend=self.profile.name,
            pose_applied=sample.pose_applied,
            steps_skipped=sample.steps_skipped,
        )

    def submit(self, request: PictureRequest) -> None:
        """Queue a picture; see Engine."""
        self.batching.submit(request)

    def cancel(self, key: str) -> None:
        """Give a picture up; see Engine."""
        self.batching.cancel(key)

    def preview(self, key: str) -> None:
        """Ask for one preview; see Engine."""
        self.batching.want_preview(key)

    def free_rows(self) -> int:
        """How many more would be drawn at once; see Engine."""
        return self.batching.free_rows()

    def has_work(self) -> bool:
        """Whether `step` would do something; see Engine."""
        return self.batching.has_work()

    def live_keys(self) -> tuple[str, ...]:
        """The keys without an outcome; see Engine."""
        return self.batching.live_keys()

    def current_size(self) -> tuple[int, int] | None:
        """The size that joins at once; see Engine."""
        return self.batching.current_size()

    def current_loras(self) -> tuple[Lora, ...] | None:
        """The LoRAs that join at once; see Engine."""
        return self.batching.current_loras()

    def is_preparing(self) -> bool:
        """Whether this step compiles something; see Engine. An engine that does sets `_prepares` before it begins."""
        return self._prepares

    def close(self) -> None:
        """Forget every sample and refuse from now on; see Engine."""
        self.batching.close()
        self._arriving.clear()
        self._glimpsed.clear()
