"""The local engine: one FLUX on one device, many pictures in flight, each at its own step of its own schedule.

It prepares tensors for `FluxRunner` and keeps them between steps; who is drawn when is `Batching`'s, what happens
then is `SteppedEngine`'s. Prompts and pose maps are cached, because an order repeats both.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from models.adapters import Adapters
from models.arrival import Decoded, Glimpses
from models.denoising import Conditions
from models.devices import Pace, failed_card, faults_named
from models.errors import LoraMissing
from models.loras import applied
from models.memory_plan import Plan
from models.modulation import Conditioning, Vectors, vectors_at
from models.previews import View, expected
from models.requests import PictureRequest
from models.runner import FluxRunner, Words
from models.sample import Sample
from models.schedule import image_tokens
from models.stepping import SteppedEngine
from models.velocity_cache import CacheMode, coast_weights
from models.warming import choose_batches, find_rows, meet_batches, timed

CACHED_PROMPTS = 64
CACHED_CONTROLS = 32
CACHED_TABLES = 8
"""Of 72 MB each with FLUX.1-dev and 28 steps, on the card; those of pictures being drawn are kept anyway."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The most recently used values, by key."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def fill(self, keys: Sequence[Hashable], make: Callable[[list[int]], Sequence[Value]]) -> list[Value]:
        """Return the values of `keys`, making all missing ones in one call.

        make: given the positions in `keys` to make (each key once), returns their values.
        """
        missing = [at for at, key in enumerate(keys) if key not in self._values and key not in keys[:at]]
        made = dict(zip((keys[at] for at in missing), make(missing) if missing else (), strict=True))
        values = [made[key] if key in made else self._values[key] for key in keys]
        for key, value in zip(keys, values, strict=True):
            self._values[key] = value
            self._values.move_to_end(key)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)
        return values

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


@dataclass(slots=True, kw_only=True)
class RowTensors:
    """A sample's tensors. latents: (n, 64) fp32; control: (n, 64) or None; sigmas: steps + 1 floats.

    table: its modulation, a row a step, where the networks do not make it themselves.
    past: noise level and velocity, (n, 64) fp32, of the last two full steps, where steps are skipped.
    expected: (n, 64) x0 as of the last step, for as long as a preview is made of it.
    """

    latents: Tensor
    words: Words
    control: Tensor | None
    sigmas: tuple[float, ...]
    table: Vectors | None
    past: tuple[tuple[float, Tensor], ...] = ()
    expected: Tensor | None = None


class InflightEngine(SteppedEngine):
    """An Engine over diffusers' FLUX classes on one CPU or CUDA device.

    Without a view it makes no previews, without adapters it knows no LoRA. measured: seconds of a forward by size and
    batch, once `warm_up` chose batches.
    """

    def __init__(
        self,
        runner: FluxRunner,
        max_batch: int,
        view: View | None = None,
        cache: CacheMode = CacheMode.OFF,
        adapters: Adapters | None = None,
    ) -> None:
        super().__init__(runner.profile, max_batch, cache)
        self.runner = runner
        self.view = view
        self._adapters = adapters
        self._pace = Pace(runner.device)
        self._words: Recent[Words] = Recent(CACHED_PROMPTS)
        self._controls: Recent[Tensor] = Recent(CACHED_CONTROLS)
        self._tables: Recent[Vectors | None] = Recent(CACHED_TABLES)
        self._chooses_batches = False
        self.measured: dict[tuple[int, int], dict[int, float]] = {}
        # The stacked conditions of the last forward, for as long as its rows stay the same.
        self._stacked: tuple[list[RowTensors], int, Conditions] | None = None

    @property
    def compiled(self) -> bool:
        """Whether blocks are compiled; false also once that failed (`runner.blocks.failure` says why)."""
        return self.runner.blocks.are_there

    @property
    def attention(self) -> str:
        """The name of what works out the attention, one of models.switches.AttentionKind."""
        return self.runner.attention.kind.value

    def submit(self, request: PictureRequest) -> None:
        """Queue a picture; see Engine. Its LoRAs are looked for here, before it waits for a row."""
        loras = applied(request.loras)
        if self._adapters is not None:
            self._adapters.check(loras)
        elif loras:
            raise LoraMissing(loras[0].name, ())
        super().submit(request)

    def _use_loras(self, request: PictureRequest) -> None:
        """Make the transformer draw with a request's LoRAs; what is loaded for that is loaded in the own precision."""
        if self._adapters is None or self._adapters.are_used(request.loras):
            return
        parts = self.runner.parts
        self.runner.precision.use(precise=False)
        self._adapters.use(request.loras, dtype=parts.dtype, device=parts.device)

    def encode(self, samples: Sequence[Sample]) -> None:
        """Encode prompts and pose maps, each once, and draw the noise."""
        requests = [sample.request for sample in samples]
        with faults_named(self.runner.device):
            self._use_loras(requests[0])
            self.runner.precision.use(precise=requests[0].precise)
            with torch.inference_mode():
                words = self._encode_words(requests)
                controls = self._encode_controls(requests)
                sigmas = [self._sigmas(request) for request in requests]
                tables = self._make_tables(requests, words, sigmas)
                tensors = [
                    RowTensors(
                        latents=self.runner.starting_noise(request.seed, request.width, request.height),
                        words=row_words,
                        control=control,
                        sigmas=row_sigmas,
                        table=table,
                    )
                    for request, row_words, control, row_sigmas, table in zip(
                        requests, words, controls, sigmas, tables, strict=True
                    )
                ]
        for sample, row in zip(samples, tensors, strict=True):
            sample.tensors = row

    def _sigmas(self, request: PictureRequest) -> tuple[float, ...]:
        return self.runner.parts.schedule.sigmas(request.steps, image_tokens(*request.size))

    def _make_tables(
        self, requests: list[PictureRequest], words: list[Words], sigmas: list[tuple[float, ...]]
    ) -> list[Vectors | None]:
        keys = [
            (request.prompt, request.precise, request.guidance, row_sigmas)
            for request, row_sigmas in zip(requests, sigmas, strict=True)
        ]
        wanted = [
            Conditioning(pooled=row_words.pooled, guidance=request.guidance, sigmas=row_sigmas)
            for request, row_words, row_sigmas in zip(requests, words, sigmas, strict=True)
        ]
        return self._tables.fill(keys, lambda at: self.runner.tables([wanted[i] for i in at]))

    def _encode_words(self, requests: list[PictureRequest]) -> list[Words]:
        keys = [(request.prompt, request.precise) for request in requests]
        return self._words.fill(keys, lambda at: self.runner.encode_words([requests[i].prompt for i in at]))

    def _encode_controls(self, requests: list[PictureRequest]) -> list[Tensor | None]:
        with_control: list[tuple[int, Image.Image]] = [
            (row, request.control) for row, request in enumerate(requests) if request.control is not None
        ]
        keys = [(picture.size, picture.tobytes(), requests[row].precise) for row, picture in with_control]
        encoded = self._controls.fill(
            keys, lambda at: list(self.runner.encode_controls([with_control[i][1] for i in at]))
        )
        controls: list[Tensor | None] = [None] * len(requests)
        for (row, _), control in zip(with_control, encoded, strict=True):
            controls[row] = control
        return controls

    def forward(self, rows: Sequence[Sample]) -> None:
        """Run the ControlNet for the rows that still want it and the transformer for all, and move the latents."""
        # Rows with control first: the ControlNet then runs on a slice, and nothing is gathered by index.
        ordered = sorted(rows, key=lambda row: not row.wants_control())
        tensors: list[RowTensors] = [row.tensors for row in ordered]
        request = ordered[0].request
        with faults_named(self.runner.device):
            self._use_loras(request)
            self.runner.suit(precise=request.precise, adapted=bool(request.loras))
            following = sum(row.wants_control() for row in ordered)
            self._prepares |= self.runner.compiles_for(len(ordered), following, request.size)
            with torch.inference_mode():
                vectors = vectors_at([row.table for row in tensors], [row.steps_done for row in ordered])
                numbers = self.runner.row_numbers([_row_numbers(row) for row in ordered], vectors)
                latents = torch.stack([row.latents for row in tensors])
                moved, velocities = self.runner.denoise(latents, self._conditions(ordered), numbers, request.size)
                self._keep_expected(ordered, latents, moved)
                self._pace.launched()
        for row, row_latents in zip(tensors, moved.unbind(), strict=True):
            row.latents = row_latents
        if self.cache is not CacheMode.OFF:
            for sample, row, velocity in zip(ordered, tensors, velocities.unbind(), strict=True):
                row.past = (*row.past[-1:], (row.sigmas[sample.steps_done], velocity))

    def coast(self, rows: Sequence[tuple[Sample, int]]) -> None:
        """Extrapolate the velocities of each row's skipped steps, and move its latents by all of them at once."""
        moved = []
        with faults_named(self.runner.device), torch.inference_mode():
            for sample, until in rows:
                row: RowTensors = sample.tensors
                (older, older_velocity), (newer, newer_velocity) = row.past
                a, b = coast_weights(row.sigmas, sample.steps_done, until, (older, newer))
                moved.append(row.latents.add(older_velocity, alpha=a).add_(newer_velocity, alpha=b))
        for (sample, _), latents in zip(rows, moved, strict=True):
            sample.tensors.latents = latents

    def _keep_expected(self, ordered: list[Sample], before: Tensor, after: Tensor) -> None:
        """Work out x0 of the rows that are watched, before their last latents are forgotten."""
        if self.view is None:
            return
        for at, row in enumerate(ordered):
            if row.wants_preview:
                sigma, sigma_next, *_ = _row_numbers(row)
                row.tensors.expected = expected(before[at], after[at], sigma, sigma_next)

    def glimpse(self, rows: Sequence[Sample]) -> Glimpses | None:
        """Show the x0 of these rows and forget it."""
        if self.view is None:
            return None
        kept: list[Tensor] = [row.tensors.expected for row in rows]
        for row in rows:
            row.tensors.expected = None
        with faults_named(self.runner.device), torch.inference_mode():
            return self.runner.glimpse(torch.stack(kept), self.view, rows[0].request.size)

    def _conditions(self, ordered: list[Sample]) -> Conditions:
        following = sum(row.wants_control() for row in ordered)
        # By the tensors, not the samples: a sample that starts over is the same one with other tensors.
        tensors: list[RowTensors] = [row.tensors for row in ordered]
        if self._stacked is not None:
            stacked, controlled, conditions = self._stacked
            if controlled == following and list(map(id, stacked)) == list(map(id, tensors)):
                return conditions
        controls = [row.control for row in tensors[:following] if row.control is not None]
        conditions = Conditions(
            embeds=torch.stack([row.words.embeds for row in tensors]),
            pooled=torch.stack([row.words.pooled for row in tensors]),
            control=torch.stack(controls) if controls else None,
        )
        self._stacked = (tensors, following, conditions)
        return conditions

    def decode(self, samples: Sequence[Sample]) -> Decoded:
        """Decode finished latents in one pass and send the pixels to the host."""
        request = samples[0].request
        with faults_named(self.runner.device):
            self.runner.precision.use(precise=request.precise)
            with torch.inference_mode():
                latents = torch.stack([sample.tensors.latents for sample in samples])
                return self.runner.decode(latents, request.size)

    def follow(self, plan: Plan, *, chooses_batches: bool) -> None:
        """Keep no more prompts and tables on the card than a plan has room for. Call before anything is drawn.

        chooses_batches: `warm_up` finds out how many rows of each size are worth sharing a forward, within the plan's.
        """
        self._words = Recent(plan.kept_prompts)
        self._tables = Recent(plan.kept_tables)
        self._chooses_batches = chooses_batches
        if chooses_batches:
            for size, rows in plan.rows:
                self.batching.limit_size(size, rows)

    def warm_up(self) -> None:
        """Draw a few steps without anybody seeing them; see Engine and `follow`."""
        try:
            if self._chooses_batches:
                self.measured = choose_batches(self)
                self.max_batch = max(map(self.batching.size_limit, self.profile.sizes))
            else:
                find_rows(self)
                if self.compiled:
                    meet_batches(self)
        except RuntimeError as e:
            # Whatever a library cannot do with these networks on this device, it will not be able to do later.
            raise failed_card(self.runner.device, e) from e

    def rehearse(self, samples: list[Sample], forwards: int) -> float:
        """Draw one step of pictures that nobody asked for, and time more of them; see models.warming."""
        try:
            self.encode(samples)
            self.forward(samples)
            forward_s = timed(self.runner.device, lambda: self.forward(samples), forwards)
            self.decode(samples[:1]).wait()  # a larger group that does not fit is split when it comes
        finally:
            self._stacked = None
        return forward_s

    def close(self) -> None:
        """Forget every sample and free the device's memory."""
        super().close()
        self._stacked = None
        self._words.clear()
        self._controls.clear()
        self._tables.clear()
        self.view = None
        if self._adapters is not None:
            self._adapters.close()
        self.runner.parts.free()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _row_numbers(row: Sample) -> tuple[float, float, float, float]:
    """Sigma, next sigma, guidance and control scale of a row's next step."""
    sigmas = row.tensors.sigmas
    return sigmas[row.steps_done], sigmas[row.steps_done + 1], row.request.guidance, row.request.control_scale
