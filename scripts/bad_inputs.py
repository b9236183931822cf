"""Asks one running API everything it should refuse, and writes what it answers to docs/bad-inputs.md.

    python scripts/bad_inputs.py [--check]

The cases are in bad_input_cases.py; a small service is started for them (API on SQLite, no Redis, no worker) and taken
down again. Every answer must be a refusal as the contract describes it, in a sentence that a person can act on, and
none may cost anything. `--check` writes nothing and fails when the document is not current.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import socketio
from bad_input_cases import CASES, Case
from bad_input_ground import Ground, open_ground

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "bad-inputs.md"
NAMESPACE = "/pose-generator"
PROBLEM = "application/problem+json"
_INTERNALS = re.compile(
    r"<class|Traceback|\w+Error\b|\w+Exception\b|pydantic|sqlalchemy|sqlite|psycopg|\bNone\b|\bTrue\b|\bFalse\b"
    r"|\{'|\['|0x[0-9a-f]{6}|/tmp/|/home/|/usr/|\.py\b|[Ii]nput should|Value error|Field required"
)
"""What a message never holds: Python's way to write things, and the libraries' own words."""
_CHANGING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}"), "01a2…"),
    (re.compile(r"again in \d+ seconds"), "again in 900 seconds"),
)
_HEADER = """# Bad inputs, and what they are answered

Written by `python scripts/bad_inputs.py` from the answers of a running API; a test runs every case again and fails
when this table is not current. Every refusal is `application/problem+json` with this `message` (the same sentence
stands in `error`, where the frontend reads it), and costs nothing. Where fields are named, `errors` lists each of them
with its own sentence. Ids and waiting times differ from run to run and are shown as examples. Refused sockets get the
message as their `connect_error`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a case was answered: the status (0 for a socket), the body, and what is not as promised."""

    case: Case
    status: int
    body: dict[str, Any]
    faults: tuple[str, ...]

    @property
    def message(self) -> str:
        """The sentence, with what changes from run to run replaced by examples."""
        message = str(self.body.get("message", ""))
        for pattern, example in _CHANGING:
            message = pattern.sub(example, message)
        return message

    @property
    def fields(self) -> list[str]:
        """The refused fields, as the answer lists them."""
        return [str(one.get("field")) for one in self.body.get("errors", [])]


def ask_everything(ground: Ground, cases: Sequence[Case] = CASES) -> list[Answer]:
    """Send the cases, in order, and judge the answers."""
    with httpx2.Client(base_url=ground.url, timeout=30.0) as client:
        return [_ask(client, ground, case) for case in cases]


def document(answers: Sequence[Answer]) -> str:
    """Return the answers as the table of docs/bad-inputs.md."""
    lines = [_HEADER, f"{len(answers)} cases."]
    area = ""
    for number, answer in enumerate(answers, start=1):
        if answer.case.area != area:
            area = answer.case.area
            lines += ["", f"## {area}", "", "| # | What | Asked | Status | Fields | Message |", "|" + "---|" * 6]
        fields = ", ".join(f"`{one}`" for one in answer.fields)
        asked = f"`{answer.case.asked}`"
        status = answer.status or "refused"
        cells = [str(number), answer.case.what, asked, str(status), fields, answer.message]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _ask(client: httpx2.Client, ground: Ground, case: Case) -> Answer:
    before = ground.wealth()
    if case.method == "SOCKET":
        status, body, faults = _knock(ground, case)
    else:
        status, body, faults = _request(client, ground, case)
    faults += faults_of(case, body)
    if ground.wealth() != before:
        faults.append("something was charged or written")
    return Answer(case=case, status=status, body=body, faults=tuple(faults))


def _request(client: httpx2.Client, ground: Ground, case: Case) -> tuple[int, dict[str, Any], list[str]]:
    headers = dict(case.headers)
    token = ground.token(case.login)
    if token is not None:
        headers.setdefault("Authorization", f"Bearer {token}")
    more: dict[str, Any] = {name: ground.filled(value) for name, value in case.sent.items()}
    for _ in range(case.times):
        answer = client.request(case.method, ground.filled(case.path), headers=headers, **more)
    faults = []
    if answer.status_code != case.status:
        faults.append(f"answers {answer.status_code}, not {case.status}: {answer.text[:200]}")
    if not answer.headers.get("content-type", "").startswith(PROBLEM):
        return answer.status_code, {}, [*faults, f"is {answer.headers.get('content-type')}, not {PROBLEM}"]
    body: dict[str, Any] = answer.json()
    if body["error"] != body["message"] or body["status"] != answer.status_code:
        faults.append("message, error and status do not agree")
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and int(answer.headers["retry-after"]) != body["retryAfter"]:
        faults.append("does not say when to come back")
    return answer.status_code, body, faults


def _knock(ground: Ground, case: Case) -> tuple[int, dict[str, Any], list[str]]:
    """Try to open a socket; the refusal's message is the body."""
    refusals: list[Any] = []
    client = socketio.Client(reconnection=False)
    client.on("connect_error", refusals.append, namespace=NAMESPACE)
    auth = case.sent.get("auth") if case.login is None else {"token": ground.token(case.login)}
    try:
        client.connect(ground.url + case.path, auth=auth, namespaces=[NAMESPACE], wait_timeout=10)
    except socketio.exceptions.ConnectionError:
        pass
    else:
        client.disconnect()
        return 0, {}, ["the socket was opened"]
    wire = client.eio.ws
    client.disconnect()
    if wire is not None:
        wire.shutdown()
    refusal = refusals[-1] if refusals else {}
    return 0, refusal if isinstance(refusal, dict) else {"message": str(refusal)}, []


def faults_of(case: Case, body: dict[str, Any]) -> list[str]:
    """Return what is wrong with a refusal's words: no sentence, internals, other fields than the case names."""
    message = str(body.get("message", ""))
    errors = body.get("errors", [])
    faults = []
    if not message.endswith("."):
        faults.append("the message is no sentence")
    for sentence in (message, *(str(one.get("message")) for one in errors)):
        if found := _INTERNALS.search(sentence):
            faults.append(f"tells internals: {found[0]}")
        if len(sentence) > 600:
            faults.append("is too long to be read")
    fields = [one.get("field") for one in errors]
    if fields != list(case.fields):
        faults.append(f"names the fields {fields}, not {list(case.fields)}")
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, judge, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the document is not current")
    asked = parser.parse_args(arguments)
    with open_ground() as ground:
        answers = ask_everything(ground)
    for answer in answers:
        for fault in answer.faults:
            print(f"{answer.case.what} ({answer.case.asked}): {fault}")
    told = document(answers)
    if asked.check:
        current = DOCUMENT.exists() and DOCUMENT.read_text() == told
        print("The document is current." if current else "The document is not current: run scripts/bad_inputs.py.")
        return 0 if current and not any(answer.faults for answer in answers) else 1
    DOCUMENT.write_text(told)
    print(f"{len(answers)} cases: {DOCUMENT.name}")
    return 1 if any(answer.faults for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
