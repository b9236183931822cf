"""What a check says: a verdict, a sentence, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"  # nothing to do
    WARN = "warn"  # it works; somebody should know, or decide
    FAIL = "fail"  # it does not work, or loses what was paid for


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor. remedy: what to do about it, empty where there is nothing to do."""

    check: str
    verdict: Verdict
    says: str
    remedy: str = ""


class Told:
    """Makes the findings of one check."""

    def __init__(self, check: str) -> None:
        self._check = check

    def ok(self, says: str) -> Finding:
        """Return what is well."""
        return Finding(check=self._check, verdict=Verdict.OK, says=says)

    def warn(self, says: str, remedy: str) -> Finding:
        """Return what works and should still be known."""
        return Finding(check=self._check, verdict=Verdict.WARN, says=says, remedy=remedy)

    def fail(self, says: str, remedy: str) -> Finding:
        """Return what does not work."""
        return Finding(check=self._check, verdict=Verdict.FAIL, says=says, remedy=remedy)
