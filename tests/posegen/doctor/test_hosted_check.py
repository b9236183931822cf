"""Endpoints that are set, away, asleep or closed to this token: a real HTTP server answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of

from posegen.doctor.cards import check_cards
from posegen.doctor.findings import Verdict
from posegen.doctor.hosted import check_endpoint
from posegen.doctor.weights import check_hub, check_licence, check_weights_here
from posegen.ports import free_port

TOKEN = "hf_of_the_endpoint"


@contextmanager
def endpoint(status: int, *, location: str = "") -> Iterator[tuple[str, list[str | None]]]:
    """An endpoint that gives one answer; yield its address and the tokens that it was shown."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization"))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", shown
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "verdict", "words"),
    [
        (200, OK, "lets this token in"),
        (405, OK, "is there"),
        (401, FAIL, "does not accept the token"),
        (402, FAIL, "not paid for"),
        (404, FAIL, "no endpoint of that name"),
        (500, FAIL, "answers 500"),
        (503, WARN, "sleeps"),
    ],
)
def test_what_the_endpoint_answers_is_told(tmp_path: Path, status: int, verdict: Verdict, words: str) -> None:
    with endpoint(status) as (url, shown):
        found = findings_of(check_endpoint, subject_of(tmp_path, hf_endpoint_url=url, hf_endpoint_token=TOKEN))

    assert words in said(found, verdict)
    assert shown == [f"Bearer {TOKEN}"]


def test_the_token_is_not_carried_to_another_address(tmp_path: Path) -> None:
    with endpoint(200) as (elsewhere, shown), endpoint(302, location=f"{elsewhere}/health") as (url, _):
        found = findings_of(check_endpoint, subject_of(tmp_path, hf_endpoint_url=url, hf_endpoint_token=TOKEN))

    assert shown == []
    assert found


def test_an_endpoint_that_nobody_serves_is_told_without_the_token(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, hf_endpoint_url=f"http://127.0.0.1:{free_port()}", hf_endpoint_token=TOKEN)

    told = said(findings_of(check_endpoint, subject), FAIL)

    assert "cannot be reached" in told
    assert TOKEN not in told


def test_without_an_endpoint_it_depends_on_what_was_asked_for(tmp_path: Path) -> None:
    on_the_cpu = subject_of(tmp_path)
    with_nothing = subject_of(tmp_path, device="hosted")
    serverless = subject_of(tmp_path, device="hosted", huggingface_api_key=TOKEN)

    assert "none is needed" in said(findings_of(check_endpoint, on_the_cpu), OK)
    assert "nothing to draw at" in said(findings_of(check_endpoint, with_nothing), FAIL)
    assert "follows no pose" in said(findings_of(check_endpoint, serverless), WARN)


def test_a_hosted_worker_needs_no_card_and_no_weights_but_keeps_the_licence(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, device="hosted", hf_endpoint_url="https://x.endpoints.huggingface.cloud")

    for check in (check_cards, check_weights_here, check_hub):
        assert {finding.verdict for finding in findings_of(check, subject)} == {OK}
    assert "content filter" in said(findings_of(check_licence, subject), WARN)
