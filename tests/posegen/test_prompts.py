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


def test_of_several_people_one_has_the_gender_of_the_avatar() -> None:
    attributes = {"style": "casual", "ethnicity": "Javanese", "ageRange": "30s", "gender": "female"}

    prompt = picture_prompt(
        attributes=attributes, words="red coat", pose_name="Waltz", pose_description="dancing", people=2
    )

    told = "casual style, Javanese, 30s, two people, one of them female, red coat, Waltz, dancing"
    assert prompt == f"{told}, {QUALITY_WORDS}"


def test_people_are_counted_in_words() -> None:
    def subject(people: int) -> str:
        prompt = picture_prompt(attributes=None, words=None, pose_name=None, pose_description=None, people=people)
        return prompt.removesuffix(f", {QUALITY_WORDS}")

    counted = ["person", "two people", "three people", "eight people", "a group of people"]
    assert [subject(people) for people in (1, 2, 3, 8, 9)] == counted
