"""Every way an endpoint can answer, over real sockets, and what is made of it: the table in docs/hosted.md is this."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.hosting import Answer, Endpoint, cuts_off, draws, floods, paints, png, says, trickles

from models.errors import HostedFailed
from models.hosted import backends
from models.hosted.engine import HostedEngine
from models.requests import Failed, Outcome, Returned

DOCUMENT = (Path(__file__).parents[3] / "docs" / "hosted.md").read_text()
PICTURES_BACK = "goes back to the queue"
SUSPECT_BACK = "goes back to the queue; the sixth time it fails, credits back"


TIMES: dict[str, dict[str, float]] = {
    "429": {"picture_s": 1.0},
    "503": {"picture_s": 1.0},
    "nothing in time": {"call_s": 0.4},
}
"""What is waited for here, shorter than for everything else."""


def _spoiled(**changes: Any) -> Answer:
    def change(told: dict[str, Any]) -> None:
        for picture in told["pictures"]:
            picture.update(changes)

    return draws(change)


def _says_profile(told: dict[str, Any]) -> None:
    told.clear()
    told.update({"format": 1, "error": {"message": "this endpoint draws flux1-dev"}})


ANSWERS: dict[str, Answer] = {
    "400": says(400),
    "410": says(410),
    "413": says(413),
    "422": says(422),
    "401": says(401),
    "403": says(403),
    "402": says(402),
    "404": says(404),
    "a redirect": says(302, Location="http://127.0.0.1:9/elsewhere"),
    "429": says(429, Retry_After="0"),
    "503": says(503),
    "500": says(500),
    "502": says(502),
    "504": says(504),
    "nothing in time": trickles(every_s=0.05, times=30),
    "a connection cut off before the answer": cuts_off(),
    "a connection cut off in the answer": cuts_off(b'{"format"'),
    "another content type": says(200, b"<html>log in</html>", type_="text/html"),
    "no JSON": says(200, b"{"),
    "compressed": says(200, b"{}", Content_Encoding="gzip"),
    "too many bytes": floods(4 * 2**20),
    "another number of pictures": draws(lambda told: told["pictures"].clear()),
    "a picture of another size": _spoiled(image=png((64, 64))),
    "a picture that is none": _spoiled(image="bm90IGEgcGljdHVyZQ=="),
    "a picture that does not follow its pose": _spoiled(poseApplied=False),
    "another profile": draws(_says_profile),
    "a black picture": draws(black=True),
}


def of_table(answer: str) -> list[str]:
    """The row of the document for an answer: how often asked, what becomes of the picture, the endpoint's state."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in DOCUMENT.splitlines()
        if line.startswith("| ") and line.count("|") == 5
    ]
    found = [row[1:] for row in rows if answer in [part.strip(" `") for part in row[0].split(",")]]
    assert len(found) == 1, f"{answer!r} stands {len(found)} times in the table"
    return found[0]


def told_of(outcome: Outcome) -> str:
    if isinstance(outcome, Returned):
        assert isinstance(outcome.error, HostedFailed)
        return SUSPECT_BACK if outcome.suspect else PICTURES_BACK
    assert isinstance(outcome, Failed)
    return f"fails, credits back (`{outcome.error.code}`)"


def asked(calls: int, is_patient: bool) -> str:
    return "until its time is over" if is_patient else {1: "once", 2: "twice"}.get(calls, f"{calls} times")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of bytes that is quickly reached."""
    monkeypatch.setattr(backends, "MOST_ANSWER_BYTES", 2**20)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.replace(" ", "-"))
def test_what_is_made_of_an_answer_is_what_the_document_says(
    served: Endpoint, hosted: Callable[..., HostedEngine], ask: Any, pose: Any, drain: Any, answer: str
) -> None:
    served.then = ANSWERS[answer]
    engine = hosted(**TIMES.get(answer, {}))

    engine.submit(ask("a", control=pose((128, 128), 0.5)))
    outcome = drain(engine)[0]["a"]

    seen = len(served.seen)
    is_patient = answer in {"429", "503"}
    assert not is_patient or seen > 5
    state = engine.line().state
    assert [asked(seen, is_patient), told_of(outcome), state.value] == of_table(answer)


def test_nobody_listening_is_in_the_table_too(hosted: Callable[..., HostedEngine], ask: Any, drain: Any) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        engine = hosted(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        engine.submit(ask("a"))
        outcome = drain(engine)[0]["a"]

    assert ["4 times", told_of(outcome), engine.line().state.value] == of_table("no connection")


SERVERLESS: dict[str, Answer] = {
    "400": says(400),
    "422": says(422),
    "410": says(410),
    "401": says(401),
    "402": says(402),
    "429": says(429, Retry_After="0"),
    "503": says(503),
    "500": says(500),
    "504": says(504),
    "nothing in time": trickles(every_s=0.05, times=30),
    "a connection cut off before the answer": cuts_off(),
    "another content type": says(200, b"<html>log in</html>", type_="text/html"),
    "too many bytes": floods(4 * 2**20, paints()),
    "a picture of another size": paints(size=(64, 64)),
    "a redirect": says(302, Location="http://127.0.0.1:9/elsewhere"),
    "a black picture": paints(black=True),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("answer", SERVERLESS, ids=lambda answer: answer.replace(" ", "-"))
def test_the_serverless_service_is_taken_in_the_same_way(
    painted: Endpoint, serverless: Callable[..., HostedEngine], ask: Any, drain: Any, answer: str
) -> None:
    painted.then = SERVERLESS[answer]
    engine = serverless(**TIMES.get(answer, {}))

    engine.submit(ask("a"))
    outcome = drain(engine)[0]["a"]

    is_patient = answer in {"429", "503"}
    state = engine.line().state
    assert [asked(len(painted.seen), is_patient), told_of(outcome), state.value] == of_table(answer)


@pytest.fixture(autouse=True)
def _nothing_is_swallowed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log line of any library holds the token."""
    caplog.set_level("DEBUG")
    yield
    assert "this-is-a-secret" not in caplog.text
