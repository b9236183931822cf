"""Who is in the next forward: the whole batching rule, without torch, so it can be read, changed and tested alone.

Rows of one forward share width, height, precision and LoRAs (a lane); everything else (step, step count, guidance,
control strength, prompt) is per row. Admission is first come, first served: when the first in line is of another lane
it waits until the active rows ran dry, and nobody overtakes it. A size may have a limit of rows of its own. When a
forward does not fit the memory, the lane's row limit is halved and the younger rows go back to the head of the line
with their progress. That limit is no verdict for life: after many forwards that fitted, more rows are tried again.
"""

from collections import deque
from dataclasses import dataclass, replace
from threading import Lock

from models.errors import EngineClosed, KeyInUse
from models.loras import Lora, applied
from models.profiles import Profile
from models.requests import PictureRequest, check_request
from models.sample import Lane, Sample, SampleState

DECODE_GROUP = 4
TRY_MORE_AFTER = 200
"""Good forwards at a row limit after which twice as many rows are tried: memory may have come back since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the next step is about. At most one of `to_encode`, `to_decode` and `rows` is acted on, in that order."""

    cancelled: tuple[Sample, ...]
    to_encode: tuple[Sample, ...]
    to_decode: tuple[Sample, ...]
    rows: tuple[Sample, ...]


@dataclass(slots=True, kw_only=True)
class RowLimit:
    """How many rows of a lane may share a forward since memory said so.

    fitted: the limit that held before this one was tried, 0 when none did. good_forwards: those with all `rows`.
    """

    rows: int
    fitted: int = 0
    good_forwards: int = 0


class Batching:
    """The line of waiting samples, the active rows, and what is to be decoded.

    `submit`, `cancel` and the questions may come from any thread; the rest belongs to the thread that steps.
    """

    def __init__(self, profile: Profile, max_batch: int) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}; it must be at least 1")
        self.profile = profile
        self.max_batch = max_batch
        self._lock = Lock()
        self._waiting: deque[Sample] = deque()
        self._active: list[Sample] = []
        self._leaving: list[Sample] = []
        self._give_up: set[str] = set()
        # By size and precision: LoRAs are small beside what a row takes.
        self._row_limits: dict[tuple[int, int, bool], RowLimit] = {}
        self._size_limits: dict[tuple[int, int], int] = {}
        self._closed = False

    def submit(self, request: PictureRequest) -> None:
        """Put a request at the end of the line. Raises RequestRefused."""
        check_request(request, self.profile)
        with self._lock:
            if self._closed:
                raise EngineClosed
            if request.key in self._live():
                raise KeyInUse(request.key)
            self._waiting.append(Sample(request=replace(request, loras=applied(request.loras))))

    def cancel(self, key: str) -> None:
        """Mark a live key; the next `decide` drops it."""
        with self._lock:
            if key in self._live():
                self._give_up.add(key)

    def want_preview(self, key: str) -> None:
        """Mark a live key; its next forward is shown."""
        with self._lock:
            for sample in self._everyone():
                if sample.key == key:
                    sample.wants_preview = True

    def decide(self) -> Decision:
        """Drop what was cancelled, admit what fits, and say what the next step is about."""
        with self._lock:
            cancelled = tuple(sample for sample in self._everyone() if sample.key in self._give_up)
            self._give_up.clear()
            self._remove(cancelled)
            self._admit()
            to_encode = tuple(sample for sample in self._active if sample.tensors is None)
            to_decode = self._decode_group()
            return Decision(cancelled=cancelled, to_encode=to_encode, to_decode=to_decode, rows=tuple(self._active))

    def _admit(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if self._active and self._active[0].lane != first.lane:
                return
            if len(self._active) >= self.row_limit(first.lane):
                return
            first.state = SampleState.ACTIVE
            self._active.append(self._waiting.popleft())

    def _decode_group(self) -> tuple[Sample, ...]:
        decoding = [sample for sample in self._leaving if sample.state is SampleState.DECODING]
        return tuple(sample for sample in decoding if sample.lane == decoding[0].lane)[:DECODE_GROUP]

    def row_limit(self, lane: Lane) -> int:
        """How many rows of this lane share a forward: its size's limit, until memory said otherwise."""
        limit = self._row_limits.get(lane[:3])
        most = self.size_limit(lane[:2])
        return most if limit is None else min(most, limit.rows)

    def size_limit(self, size: tuple[int, int]) -> int:
        """How many rows of a size (px) share a forward at most: max_batch, unless `limit_size` said less."""
        return min(self.max_batch, self._size_limits.get(size, self.max_batch))

    def limit_size(self, size: tuple[int, int], rows: int) -> None:
        """Let no more than `rows` of a size share a forward for good: more would not fit, or not be faster."""
        if rows < 1:
            raise ValueError(f"{rows} rows of {size}; at least 1 must be drawn")
        with self._lock:
            self._size_limits[size] = rows

    def limit_rows(self, lane: Lane, rows: int) -> None:
        """Let no more than `rows` of this lane share a forward from now on."""
        with self._lock:
            self._row_limits[lane[:3]] = RowLimit(rows=rows)

    def count_forward(self, rows: tuple[Sample, ...]) -> None:
        """Learn from a forward of `rows` that fitted: after many at the lane's limit, more rows are let in."""
        lane = rows[0].lane[:3]
        with self._lock:
            limit = self._row_limits.get(lane)
            if limit is None or len(rows) < limit.rows:
                return
            limit.good_forwards += 1
            if limit.good_forwards < TRY_MORE_AFTER:
                return
            most = self.size_limit(lane[:2])
            if limit.rows < most:
                self._row_limits[lane] = RowLimit(rows=min(most, 2 * limit.rows), fitted=limit.rows)
            else:
                del self._row_limits[lane]

    def leave_rows(self, samples: tuple[Sample, ...]) -> None:
        """Move denoised rows out, to be decoded; their rows are free."""
        with self._lock:
            for sample in samples:
                self._active.remove(sample)
                sample.state = SampleState.DECODING
                self._leaving.append(sample)

    def let_arrive(self, samples: tuple[Sample, ...]) -> None:
        """Note that these are decoded; they stay live until they are dropped or put back."""
        with self._lock:
            for sample in samples:
                sample.state = SampleState.ARRIVING

    def holds(self, sample: Sample) -> bool:
        """Whether this very sample is live, and not another of its key."""
        with self._lock:
            return any(sample is live for live in self._everyone())

    def drop(self, samples: tuple[Sample, ...]) -> None:
        """Forget samples whose outcome is known."""
        with self._lock:
            self._remove(samples)

    def put_back(self, samples: tuple[Sample, ...]) -> None:
        """Move samples to the head of the line, keeping their order and whatever progress they have."""
        with self._lock:
            self._remove(samples)
            for sample in reversed(samples):
                sample.state = SampleState.WAITING
                self._waiting.appendleft(sample)

    def halve_rows(self, rows: tuple[Sample, ...]) -> bool:
        """React to a forward of `rows` that did not fit: fewer rows of this lane from now on.

        The younger rows go back to the head of the line with their progress. False when there was only one row:
        nothing smaller can be tried, and nothing was changed.
        """
        if len(rows) < 2:
            return False
        lane = rows[0].lane
        limit = self._row_limits.get(lane[:3])
        fitted = limit.fitted if limit is not None else 0
        keep = fitted if 0 < fitted < len(rows) else len(rows) // 2
        self.limit_rows(lane, keep)
        self.put_back(rows[keep:])
        return True

    def free_rows(self) -> int:
        """The row limit of who is last in line, less the waiting and the active; never negative.

        With nobody in line the next size is not known: the lowest limit of any size, so that nothing is promised in
        vain. Second tries in higher precision are this line's own and have no say in that.
        """
        with self._lock:
            last = self._last_in_line()
            if last is None:
                limits = [self.row_limit((*lane, ())) for lane in self._row_limits if not lane[2]]
                return min([*limits, *map(self.size_limit, self._size_limits)], default=self.max_batch)
            return max(0, self.row_limit(last.lane) - len(self._waiting) - len(self._active))

    def has_work(self) -> bool:
        """Whether any sample is live."""
        with self._lock:
            return bool(self._waiting or self._active or self._leaving)

    def live_keys(self) -> tuple[str, ...]:
        """The keys without an outcome, those nearest to one first."""
        with self._lock:
            return tuple(self._live())

    def current_size(self) -> tuple[int, int] | None:
        """The size a newcomer must have to join without waiting for others to run dry; None: any."""
        with self._lock:
            last = self._last_in_line()
            return last.request.size if last is not None else None

    def current_loras(self) -> tuple[Lora, ...] | None:
        """The LoRAs a newcomer must have to join without waiting for others to run dry; None: any."""
        with self._lock:
            last = self._last_in_line()
            return last.request.loras if last is not None else None

    def close(self) -> None:
        """Forget everything and refuse from now on."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._active.clear()
            self._leaving.clear()

    def _last_in_line(self) -> Sample | None:
        # Whoever is last in line decides what a newcomer must be like: nobody overtakes.
        return self._waiting[-1] if self._waiting else self._active[0] if self._active else None

    def _everyone(self) -> list[Sample]:
        return [*self._leaving, *self._active, *self._waiting]

    def _live(self) -> list[str]:
        return [sample.key for sample in self._everyone()]

    def _remove(self, samples: tuple[Sample, ...]) -> None:
        gone = set(map(id, samples))
        self._waiting = deque(sample for sample in self._waiting if id(sample) not in gone)
        self._active = [sample for sample in self._active if id(sample) not in gone]
        self._leaving = [sample for sample in self._leaving if id(sample) not in gone]
