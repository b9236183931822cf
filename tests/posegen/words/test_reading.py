"""Reading words: phrases, their sides, and what is left over."""

import pytest

from posegen.words import read_wish
from posegen.words.phrases import LEFT, PHRASES, RIGHT
from posegen.words.reading import stem, terms_of


def said(text: str) -> list[tuple[str, int | None]]:
    return [(one.phrase.name, one.side) for one in read_wish(text).said]


@pytest.mark.parametrize("name", [phrase.name for phrase in PHRASES])
def test_every_phrase_is_read_from_its_own_name(name: str) -> None:
    wish = read_wish(name)

    assert name in {one.phrase.name for one in wish.said} or (name == "mirrored" and wish.mirrored)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Arms CROSSED", [("arms crossed", None)]),
        ("with her arms firmly crossed", [("arms crossed", None)]),
        ("crossing his arms", [("arms crossed", None)]),
        ("both hands on the hips", [("hands on hips", None)]),
        ("left hand on hip", [("hand on hip", LEFT)]),
        ("one hand on her right hip", [("hand on hip", RIGHT)]),
        ("his left leg forward", [("leg forward", LEFT)]),
        ("looking to the left", [("looking to the side", LEFT)]),
        ("looks back over her right shoulder", [("looking over the shoulder", RIGHT)]),
        ("sitting cross-legged on the floor", [("sitting on the floor", None)]),
        ("kneeling on one knee", [("on one knee", None)]),
        ("waving with the left hand", [("waving", LEFT)]),
        ("standing on one leg", [("knee raised", None)]),
        ("a couple, sitting with arms crossed, looking left",
         [("two people", None), ("sitting", None), ("arms crossed", None), ("looking to the side", LEFT)]),
        ("arms up, crossed legs", [("arms raised", None), ("legs crossed", None)]),
    ],
)  # fmt: skip
def test_words_are_read_as_people_say_them(text: str, expected: list[tuple[str, int | None]]) -> None:
    assert said(text) == expected


def test_other_words_are_left_to_match_by() -> None:
    assert read_wish("a woman in a red raincoat, sitting").terms == ("red", "raincoat")


def test_being_mirrored_is_a_wish_for_the_whole() -> None:
    assert read_wish("sitting, mirrored").mirrored
    assert not read_wish("sitting in front of the mirror").mirrored


def test_a_side_that_is_named_is_known() -> None:
    assert read_wish("left arm raised").names_a_side
    assert not read_wish("arms raised").names_a_side


@pytest.mark.parametrize(
    "forms", [("sit", "sits", "sitting"), ("dance", "dancing", "dancer"), ("cross", "crossed"), ("walk", "walks")]
)
def test_forms_of_a_word_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize("text", ["", " ", "...", "日本語", "x" * 500, "left", "'", "arms " * 100])
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(terms_of(text), tuple)
    assert len(read_wish(text).said) <= 1
