"""The doctor's subjects for tests: settings as a process would have them, and what one check says of them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from posegen.doctor.findings import Finding, Told, Verdict
from posegen.doctor.subject import CPU, SettingProblem, Subject
from posegen.settings import Settings

SECRET = "aZ3vK9wQ1xT7rB5nM2cL8dF6gH4jP0sY"
OK, WARN, FAIL = Verdict


def subject_of(
    folder: Path,
    *,
    device: str = CPU,
    environment: Mapping[str, str] | None = None,
    problems: tuple[SettingProblem, ...] = (),
    **settings: Any,
) -> Subject:
    """A subject whose VAR_DIR lies in `folder`, on the CPU."""
    given = {"jwt_secret": SECRET, "var_dir": folder / "var", **settings}
    return Subject(
        settings=Settings(_env_file=None, **given),
        problems=problems,
        environment=environment or {},
        folder=folder,
        device=device,
    )


def findings_of(check: Callable[[Subject, Told], Iterable[Finding]], subject: Subject) -> list[Finding]:
    """What a check says, every fault with its remedy."""
    found = list(check(subject, Told("tried")))
    assert all(finding.remedy for finding in found if finding.verdict is not OK), found
    return found


def said(findings: Iterable[Finding], verdict: Verdict) -> str:
    """Everything that was said with a verdict, in one text; empty when nothing was."""
    return "\n".join(f"{finding.says} -> {finding.remedy}" for finding in findings if finding.verdict is verdict)
