"""One check that breaks or hangs hides no other, and shows no secret."""

import threading
from collections.abc import Iterator
from pathlib import Path

from support.examined import FAIL, OK, WARN, said, subject_of

from posegen.doctor.examining import Check, examine, worst
from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject


def well(_subject: Subject, told: Told) -> Iterator[Finding]:
    yield told.ok("all is well")


def broken(_subject: Subject, told: Told) -> Iterator[Finding]:
    yield told.ok("so far")
    raise LookupError("redis://:hunter2@host")


def test_a_check_that_breaks_is_a_finding_and_the_others_stand(tmp_path: Path) -> None:
    found = list(examine(subject_of(tmp_path), [Check(name="broken", ask=broken), Check(name="well", ask=well)]))

    assert [(finding.check, finding.verdict) for finding in found] == [("broken", OK), ("broken", FAIL), ("well", OK)]
    assert "LookupError in broken" in said(found, FAIL)
    assert "hunter2" not in said(found, FAIL)


def test_a_check_that_hangs_is_told_after_its_time_with_what_it_found(tmp_path: Path) -> None:
    let_go = threading.Event()

    def hanging(_subject: Subject, told: Told) -> Iterator[Finding]:
        yield told.warn("slow", "wait")
        let_go.wait()

    found = list(
        examine(subject_of(tmp_path), [Check(name="slow", ask=hanging, within_s=0.2), Check(name="well", ask=well)])
    )
    let_go.set()

    assert [finding.verdict for finding in found] == [WARN, FAIL, OK]
    assert "did not end within 0.2 s" in said(found, FAIL)


def test_the_worst_finding_is_the_verdict() -> None:
    told = Told("tried")

    assert worst([]) is OK
    assert worst([told.ok(""), told.warn("", "")]) is WARN
    assert worst([told.fail("", ""), told.ok(""), told.warn("", "")]) is FAIL
