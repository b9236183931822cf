"""Which words are not drawn."""

import pytest

from posegen.errors import WordingRefused
from posegen.wording import check_wording


@pytest.mark.parametrize(
    "text",
    [
        "a coat from Essex", "gunmetal grey suit", "Middlesex county fair", "grape juice", "Scunthorpe", "cockpit",
        "nudel soup", "killer heels, dressed to kill", "shooting a film in Sussex", "Dick Tracy", "",
    ],
)  # fmt: skip
def test_words_that_only_hold_a_refused_word_pass(text: str) -> None:
    check_wording(text, field="textPrompt")


@pytest.mark.parametrize(
    "text",
    [
        "a NUDE person", "gore.", "sieg   heil", "two\nnazis", "(rape)", "mass shooting!", "white-power", "self-harm",
        "a_nude_person", "a \uff4e\uff55\uff44\uff45 person", "a nu\u200bde person", "a n\u00fcde person",
        "a nu\u0308de person", "fucking in the rain", "a disemboweled man", "covered in blood", "holocaust",
    ],
)  # fmt: skip
def test_refused_wording_is_found_whatever_its_case_and_spacing(text: str) -> None:
    with pytest.raises(WordingRefused):
        check_wording(text, field="textPrompt")


def test_the_refusal_names_the_field_and_the_words() -> None:
    with pytest.raises(WordingRefused) as refused:
        check_wording("a White Power rally", field="backgroundPrompt")

    assert refused.value.word == "white power"
    assert [problem.field for problem in refused.value.problems] == ["backgroundPrompt"]
    assert "white power" in str(refused.value)


def test_the_longest_wording_is_named() -> None:
    with pytest.raises(WordingRefused) as refused:
        check_wording("a hitler salute", field="textPrompt")

    assert refused.value.word == "hitler salute"
