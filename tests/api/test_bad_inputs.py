"""Every bad input of docs/bad-inputs.md against one running API: refused as promised, for nothing, in plain words."""

from collections.abc import Iterator

import pytest
from bad_input_cases import CASES, Case
from bad_input_ground import Ground, open_ground
from bad_inputs import DOCUMENT, Answer, ask_everything, document, faults_of

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with open_ground() as made:
        yield made


@pytest.fixture(scope="module")
def answers(ground: Ground) -> list[Answer]:
    return ask_everything(ground)


def test_every_bad_input_is_refused_as_promised_and_costs_nothing(answers: list[Answer]) -> None:
    faults = [(answer.case.area, answer.case.what, fault) for answer in answers for fault in answer.faults]

    assert faults == []


def test_there_are_as_many_answers_as_cases_and_no_failure_among_them(answers: list[Answer]) -> None:
    assert len(answers) == len(CASES) >= 90
    assert [answer.case.what for answer in answers if answer.status >= 500] == []


def test_the_document_is_current(answers: list[Answer]) -> None:
    assert document(answers) == DOCUMENT.read_text(), "run python scripts/bad_inputs.py, and read what changed"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("Input should be a valid integer.", "tells internals: Input should"),
        ("Value error, Expected UploadFile, received: <class 'str'>.", "tells internals: Value error"),
        ("ValueError: no such thing.", "tells internals: ValueError"),
        ("No, because", "the message is no sentence"),
    ],
)
def test_messages_that_nobody_can_act_on_are_noticed(message: str, fault: str) -> None:
    case = Case(area="", what="", method="GET", path="/", status=400)

    assert faults_of(case, {"message": message})[0] == fault


def test_an_answer_that_is_no_refusal_is_noticed(ground: Ground) -> None:
    case = Case(area="", what="", method="GET", path="/api/auth/profile", status=400)

    answer = ask_everything(ground, [case])[0]

    assert answer.faults[0].startswith("answers 200, not 400")
