"""The words FLUX is given: the avatar, the customer's words, the pose's words, quality words, as far as known.

The avatar is one person. Where the pose shows several, the avatar's gender is said of one of them only, or a couple
would be drawn as twins.
"""

from collections.abc import Mapping
from typing import Any

QUALITY_WORDS = "professional photography, sharp focus, detailed, soft lighting"
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight")


def picture_prompt(
    *,
    attributes: Mapping[str, Any] | None,
    words: str | None,
    pose_name: str | None,
    pose_description: str | None,
    people: int = 1,
) -> str:
    """Return `{style} style, {ethnicity}, {ageRange}, {gender} person, {words}, {pose}, {description}, quality`.

    With several people in the pose the subject is `two people, one of them {gender}`.
    """
    known = {name: str(value).strip() for name, value in (attributes or {}).items() if value and str(value).strip()}
    style = known.get("style")
    parts = [
        f"{style} style" if style else None,
        known.get("ethnicity"),
        known.get("ageRange"),
        _subject(people, known.get("gender")),
        words,
        pose_name,
        pose_description,
        QUALITY_WORDS,
    ]
    return ", ".join(part.strip().rstrip(".,") for part in parts if part and part.strip())


def _subject(people: int, gender: str | None) -> str:
    if people == 1:
        return f"{gender} person" if gender else "person"
    together = f"{_NUMBERS[people - 2]} people" if people - 2 < len(_NUMBERS) else "a group of people"
    return f"{together}, one of them {gender}" if gender else together
