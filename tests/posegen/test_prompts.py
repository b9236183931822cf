"""The words a picture is drawn from."""

from posegen.prompts import QUALITY_WORDS, picture_prompt


def test_everything_that_is_known_stands_in_the_order_of_the_contract() -> None:
    attributes = {"style": "casual", "ethnicity": "Javanese", "ageRange": "30s", "gender": "female"}

    prompt = picture_prompt(
        attributes=attributes, words="red coat", pose_name="Contrapposto", pose_description="weight on one leg"
    )

    assert prompt == (
        "casual style, Javanese, 30s, female person, red coat, Contrapposto, weight on one leg, " + QUALITY_WORDS
    )


def test_what_is_missing_leaves_no_trace() -> None:
    prompt = picture_prompt(
        attributes={"gender": None, "style": "  "}, words=" ", pose_name="Jump", pose_description=None
    )

    assert prompt == f"person, Jump, {QUALITY_WORDS}"


def test_a_full_stop_in_the_middle_becomes_a_comma() -> None:
    prompt = picture_prompt(attributes=None, words="A red coat.", pose_name="Jump", pose_description="In the air.")

    assert prompt == f"person, A red coat, Jump, In the air, {QUALITY_WORDS}"
