"""An engine that draws on somebody else's machine: several calls at once, and `step` only collects what came.

The calls run in an event loop of their own thread: there a call that nobody waits for any more, or that takes too long,
is ended at once, which a blocked thread could not be. Who is asked for next, again, or no more is decided by `Ask` and
`Line`. Every picture has an outcome within its time, whatever the endpoint does.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic, perf_counter

from models.errors import CardFailed, EngineClosed, KeyInUse
from models.hosted.asks import Ask
from models.hosted.backends import Backend
from models.hosted.faults import Fault, FaultKind, Patience
from models.hosted.line import Line, LineReport
from models.hosted.wire import Answered, Undrawn
from models.loras import Lora
from models.profiles import Profile
from models.requests import Cancelled, Finished, Outcome, PictureRequest, StepReport, check_request

STEP_S = 0.25
"""How long a step waits for something to come."""
CLOSE_S = 5.0


class HostedEngine:
    """An Engine (see models.engine) whose pictures come from a backend. `line` may be asked from any thread."""

    def __init__(
        self,
        profile: Profile,
        backend: Backend,
        *,
        calls_at_once: int = 5,
        patience: Patience | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if calls_at_once < 1:
            raise ValueError(f"{calls_at_once} calls at once; there must be one at least")
        self.profile = profile
        self.backend = backend
        self.max_batch = calls_at_once * backend.pictures_per_call
        self._calls_at_once = calls_at_once
        self._patience = patience or Patience()
        self._clock = clock
        # Under the lock: everything that more than the loop's thread touches.
        self._changed = threading.Condition()
        self._line = Line(self._patience, clock)
        self._asks: dict[str, Ask] = {}
        self._outcomes: deque[Outcome] = deque()
        self._calls: dict[asyncio.Task[None], tuple[Ask, ...]] = {}
        self._calls_done = 0
        self._surprise: BaseException | None = None
        self._is_closed = False
        # The loop's thread's own.
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hosted", daemon=True)
        self._thread.start()

    def submit(self, request: PictureRequest) -> None:
        """Queue a picture; see Engine. Raises what the backend refuses too."""
        check_request(request, self.profile)
        self.backend.check(request)
        with self._changed:
            if self._is_closed:
                raise EngineClosed
            if request.key in self._asks:
                raise KeyInUse(request.key)
            now = self._clock()
            self._asks[request.key] = Ask(
                request=request, deadline=now + self._patience.picture_s, not_before=now + self._patience.gather_s
            )
            self._loop.call_soon_threadsafe(self._pump)

    def cancel(self, key: str) -> None:
        """Give a picture up at once; a call of which nobody wants anything any more is ended. See Engine."""
        with self._changed:
            ask = self._asks.get(key)
            if ask is None or ask.is_settled or self._is_closed:
                return
            self._settle(ask, Cancelled(key=key))
            self._loop.call_soon_threadsafe(self._end_abandoned)

    def preview(self, key: str) -> None:
        """Show nothing: what happens at the endpoint is not seen here."""

    def step(self) -> StepReport:
        """Collect what came, or wait a moment for it; see Engine."""
        began = perf_counter()
        with self._changed:
            was_calling = bool(self._calls)
            if self._asks and not self._outcomes:
                self._changed.wait_for(lambda: self._outcomes or self._surprise, STEP_S)
            if self._surprise is not None:
                raise CardFailed(self.backend.name, repr(self._surprise)) from self._surprise
            outcomes = list(self._outcomes)
            self._outcomes.clear()
            came = [self._asks.pop(outcome.key).request for outcome in outcomes if isinstance(outcome, Finished)]
            for outcome in outcomes:
                self._asks.pop(outcome.key, None)
            calls_done = self._calls_done
        waited_s = perf_counter() - began
        return StepReport(
            outcomes=outcomes,
            rows=(),
            compute_s=waited_s if was_calling or came else 0.0,
            step_no=calls_done,
            stage="call" if was_calling or outcomes else "idle",
            elsewhere=tuple((request.key, index, request.steps) for request in came for index in range(request.steps)),
        )

    def free_rows(self) -> int:
        """How many more may be asked for now: none while the endpoint is known not to draw. See Engine."""
        with self._changed:
            return max(0, self._line.room(self.max_batch - len(self._asks), live=len(self._asks)))

    def has_work(self) -> bool:
        """Whether anything has no outcome, or one that was not handed out yet; see Engine."""
        with self._changed:
            return bool(self._asks) or self._surprise is not None

    def live_keys(self) -> tuple[str, ...]:
        """The keys without an outcome; see Engine."""
        with self._changed:
            return tuple(self._asks)

    def current_size(self) -> tuple[int, int] | None:
        """Any: each call has a size of its own."""
        return None

    def current_loras(self) -> tuple[Lora, ...] | None:
        """Any: each call has its own."""
        return None

    def line(self) -> LineReport:
        """Say what is known of the endpoint."""
        with self._changed:
            return self._line.report()

    def warm_up(self) -> None:
        """Ask nothing: an endpoint that sleeps costs nothing, and the first picture wakes it."""

    def is_preparing(self) -> bool:
        """Nothing is compiled here; see Engine."""
        return False

    def close(self) -> None:
        """Forget everything, end the calls and refuse from now on; see Engine."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._asks.clear()
            self._outcomes.clear()
            self._changed.notify_all()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        tasks = list(self._calls)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(Exception):  # nobody is left to be told
            await self.backend.close()
        self._loop.stop()

    def _pump(self) -> None:
        """Settle what is out of time, start the calls that may go, and come back when the next thing is due."""
        with self._changed:
            if self._is_closed:
                return
            self._give_up()
            while group := self._next_group():
                for ask in group:
                    ask.is_called = True
                task = self._loop.create_task(self._call(group))
                self._calls[task] = group
                task.add_done_callback(self._after_call)
            self._come_back()

    def _give_up(self) -> None:
        now = self._clock()
        gone, reason = self._line.is_given_up(), self._line.report().reason or "it gave no answer"
        for ask in self._waiting():
            if gone or now >= ask.deadline:
                self._settle(ask, ask.returned(reason))

    def _next_group(self) -> tuple[Ask, ...]:
        """Return what the next call asks for: the oldest picture that may go, and others of its lane."""
        if len(self._calls) >= self._line.calls_allowed(self._calls_at_once):
            return ()
        now = self._clock()
        ready = [ask for ask in self._waiting() if ask.not_before <= now]
        if not ready:
            return ()
        first = ready[0]
        if first.alone:
            return (first,)
        fitting = [ask for ask in ready if ask.lane == first.lane and not ask.alone]
        return tuple(fitting[: self.backend.pictures_per_call])

    def _come_back(self) -> None:
        waiting = self._waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not waiting:
            return
        allowed = self._line.calls_allowed(self._calls_at_once)
        if 0 < allowed <= len(self._calls):  # the end of a call comes back here too
            due = min(ask.deadline for ask in waiting)
        else:
            shut_until = self._line.shut_until
            due = min(min(max(ask.not_before, shut_until), ask.deadline) for ask in waiting)
        self._timer = self._loop.call_later(max(due - self._clock(), 0.001), self._pump)

    async def _call(self, asks: tuple[Ask, ...]) -> None:
        with self._changed:
            left_s = min(ask.deadline for ask in asks) - self._clock()
        requests = [ask.request for ask in asks]
        try:
            async with asyncio.timeout(max(0.0, min(left_s, self._patience.call_s))):
                answers = await self.backend.draw(requests)
        except TimeoutError:
            if left_s < self._patience.call_s:
                self._cut_short(asks)
            else:
                self._take_fault(asks, Fault(FaultKind.LATE, "no answer in time"))
        except Fault as fault:
            self._take_fault(asks, fault)
        else:
            self._take_answers(asks, answers)

    def _after_call(self, task: "asyncio.Task[None]") -> None:
        """Note that a call is over; what it raised is nothing that was foreseen, and ends the engine."""
        with self._changed:
            self._calls.pop(task, None)
            self._calls_done += 1
            if not task.cancelled() and task.exception() is not None:
                self._surprise = task.exception()
                self._changed.notify_all()
        self._pump()

    def _take_answers(self, asks: Sequence[Ask], answers: Iterable[Answered]) -> None:
        with self._changed:
            answers = list(answers)
            broke = [answer for answer in answers if isinstance(answer, Undrawn) and answer.again]
            if broke:
                self._line.note_fault(Fault(FaultKind.BROKE, str(broke[0].error)))
            else:
                self._line.note_answer()
            for ask, answer in zip(asks, answers, strict=True):
                ask.is_called = False
                self._settle(ask, ask.outcome_of(answer, self.backend.name, self._clock()))

    def _take_fault(self, asks: Sequence[Ask], fault: Fault) -> None:
        with self._changed:
            self._line.note_fault(fault)
            for ask in asks:
                ask.is_called = False
                outcome = ask.outcome_after(fault, self._line, self._clock(), together=len(asks))
                self._settle(ask, outcome)

    def _cut_short(self, asks: Sequence[Ask]) -> None:
        """Note that a picture's time ended in a call that still had some: nothing is known of the endpoint by that."""
        with self._changed:
            for ask in asks:
                ask.is_called = False

    def _end_abandoned(self) -> None:
        with self._changed:
            for task, asks in self._calls.items():
                if all(ask.is_settled for ask in asks):
                    task.cancel()

    def _settle(self, ask: Ask, outcome: Outcome | None) -> None:
        """Note the outcome of a picture that has none; the lock is held."""
        if outcome is None or ask.is_settled or self._is_closed:
            return
        ask.is_settled = True
        self._outcomes.append(outcome)
        self._changed.notify_all()

    def _waiting(self) -> list[Ask]:
        return [ask for ask in self._asks.values() if not ask.is_called and not ask.is_settled]
