"""A picture that an endpoint is asked for, and what becomes of it after each call: decisions only, no network."""

from dataclasses import dataclass, field

from models.errors import EndpointAway, EndpointBroke, EndpointLate, EndpointRefused, HostedFailed
from models.hosted.faults import RULES, Fault, FaultKind, Then
from models.hosted.line import Line
from models.hosted.wire import Drawn, Undrawn
from models.requests import Failed, Finished, Outcome, PictureRequest, Returned

BLACK_TRIES = 2
"""A picture that came out black is asked for once more, as a local engine draws it once more."""


@dataclass(slots=True, kw_only=True, eq=False)
class Ask:
    """One picture on its way. Times are by the engine's clock.

    alone: the next call is for this picture only, so that it cannot spoil the others'. is_settled: it has an outcome.
    """

    request: PictureRequest
    deadline: float
    not_before: float = 0.0
    alone: bool = False
    is_called: bool = False
    is_settled: bool = False
    tries: dict[FaultKind, int] = field(default_factory=dict)
    blacks: int = 0

    @property
    def key(self) -> str:
        """The caller's name for the picture."""
        return self.request.key

    @property
    def lane(self) -> tuple[object, ...]:
        """What pictures of one call share, so that the endpoint draws them in the same forwards."""
        return self.request.size, self.request.loras

    @property
    def is_suspect(self) -> bool:
        """Whether a call with this picture broke."""
        return FaultKind.BROKE in self.tries

    def outcome_of(self, answer: Drawn | Undrawn, backend: str, now: float) -> Outcome | None:
        """Return what an answer makes of this picture; None: it is asked for again."""
        if isinstance(answer, Drawn):
            return Finished(
                key=self.key,
                pixels=answer.pixels,
                denoise_s=answer.denoise_s,
                steps_run=answer.steps_run,
                backend=backend,
                pose_applied=answer.pose_applied,
                steps_skipped=answer.steps_skipped,
            )
        if answer.again:
            self.tries[FaultKind.BROKE] = self.tries.get(FaultKind.BROKE, 0) + 1
            return self._once_more(RULES[FaultKind.BROKE].tries, self.tries[FaultKind.BROKE], answer, now)
        if answer.error.code == "bad_picture" and not isinstance(answer.error, HostedFailed):
            self.blacks += 1  # seen here; what the endpoint's engine calls bad was drawn twice there
            return self._once_more(BLACK_TRIES, self.blacks, answer, now)
        return Failed(key=self.key, error=answer.error)

    def outcome_after(self, fault: Fault, line: Line, now: float, *, together: int) -> Outcome | None:
        """Return what a fault of its call makes of this picture; None: it is asked for again.

        together: how many pictures the call had. The line has heard of the fault before.
        """
        rule = RULES[fault.kind]
        if together > 1 and fault.kind is FaultKind.REFUSED:
            self.alone, self.not_before = True, now  # one of them is refused; nobody knows which
            return None
        self.tries[fault.kind] = tried = self.tries.get(fault.kind, 0) + 1
        self.alone = self.alone or fault.kind is FaultKind.BROKE
        if rule.tries is None or tried < rule.tries:
            self.not_before = now + (0.0 if rule.tries is None else line.pause_s(tried, fault))
            return None
        if rule.then is Then.RETURN or (rule.then is Then.JUDGE and line.is_broken()):
            return self.returned(fault.reason)
        error = {FaultKind.REFUSED: EndpointRefused, FaultKind.LATE: EndpointLate}.get(fault.kind, EndpointBroke)
        return Failed(key=self.key, error=error(fault.reason))

    def returned(self, reason: str) -> Returned:
        """Return it to whoever asked, undrawn."""
        return Returned(key=self.key, error=EndpointAway(reason), suspect=self.is_suspect)

    def _once_more(self, most: int | None, tried: int, answer: Undrawn, now: float) -> Outcome | None:
        self.alone, self.not_before = True, now
        return Failed(key=self.key, error=answer.error) if most is not None and tried >= most else None
