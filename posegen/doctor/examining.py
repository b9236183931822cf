"""Running checks: side by side, each within its own time, none able to hide another.

The outermost loop of the doctor: whatever a check raises becomes a finding. Only the kind of an error and its place are
told, never its words, which may hold an address with a password in it.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from posegen.doctor.findings import Finding, Told, Verdict
from posegen.doctor.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. within_s: after so long it is told as not ended, with what it had found by then."""

    name: str
    ask: Callable[[Subject, Told], Iterable[Finding]]
    within_s: float = 10.0


def examine(subject: Subject, checks: Sequence[Check]) -> Iterator[Finding]:
    """Start every check and yield what they find, in the order of `checks`."""
    runs = [_Run(check, subject) for check in checks]
    for run in runs:
        yield from run.findings()


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict on the whole."""
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in verdicts), Verdict.OK)


class _Run:
    """A check in a thread of its own, which nobody waits for at the process's end."""

    def __init__(self, check: Check, subject: Subject) -> None:
        self._check = check
        self._told = Told(check.name)
        self._found: list[Finding] = []
        self._until = time.monotonic() + check.within_s
        self._thread = threading.Thread(target=self._run, args=(subject,), name=f"doctor-{check.name}", daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Wait until it ends or its time is over, and return what it found."""
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if not self._thread.is_alive():
            return self._found
        says = f"this check did not end within {self._check.within_s:g} s"
        return [*self._found, self._told.fail(says, "See whether what it asks hangs: a disk, a network, a server.")]

    def _run(self, subject: Subject) -> None:
        try:
            for finding in self._check.ask(subject, self._told):
                self._found.append(finding)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            says = f"this check broke: {type(error).__name__} in {place.name} ({place.filename}:{place.lineno})"
            self._found.append(self._told.fail(says, "The other checks stand; please report this one."))
