"""`posegen doctor`, as an operator types it."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from posegen.doctor.checks import CHECKS
from posegen.doctor.examining import examine, worst
from posegen.doctor.findings import Finding, Verdict
from posegen.doctor.subject import AUTO, subject_here
from posegen.terminal import console

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Answer as one JSON object.")] = False,
    device: Annotated[str, typer.Option(help="What a worker would be given: auto, cpu, cuda:0, hosted")] = AUTO,
) -> None:
    """Say what this machine lacks for serving, each with what to do about it. Changes nothing.

    Exits with 1 when anything fails; what is only worth knowing does not count.
    """
    findings = []
    # This command is an edge of its own: what it examines is the environment.
    for finding in examine(subject_here(device=device, environment=os.environ), CHECKS):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    verdict = worst(findings)
    if as_json:
        typer.echo(json.dumps({"verdict": verdict, "findings": [asdict(finding) for finding in findings]}))
    else:
        counts = {kind: sum(finding.verdict is kind for finding in findings) for kind in Verdict}
        told = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
        console.print(f"[{_COLOURS[verdict]}]{told}[/]")
    raise typer.Exit(1 if verdict is Verdict.FAIL else 0)


def _tell(finding: Finding) -> None:
    colour = _COLOURS[finding.verdict]
    console.print(f"[{colour}]{finding.verdict.value:<4}[/]  {finding.check:<9} {escape(finding.says)}", soft_wrap=True)
    if finding.remedy:
        console.print(f"{'':<16}[dim]-> {escape(finding.remedy)}[/]", soft_wrap=True)
