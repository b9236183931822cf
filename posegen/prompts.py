"""The words FLUX is given: the avatar, the customer's words, the pose's words, quality words, as far as known."""

from collections.abc import Mapping
from typing import Any

QUALITY_WORDS = "professional photography, sharp focus, detailed, soft lighting"


def picture_prompt(
    *, attributes: Mapping[str, Any] | None, words: str | None, pose_name: str | None, pose_description: str | None
) -> str:
    """Return `{style} style, {ethnicity}, {ageRange}, {gender} person, {words}, {pose}, {description}, quality`."""
    known = {name: str(value).strip() for name, value in (attributes or {}).items() if value and str(value).strip()}
    style = known.get("style")
    parts = [
        f"{style} style" if style else None,
        known.get("ethnicity"),
        known.get("ageRange"),
        f"{known['gender']} person" if "gender" in known else "person",
        words,
        pose_name,
        pose_description,
        QUALITY_WORDS,
    ]
    return ", ".join(part.strip().rstrip(".,") for part in parts if part and part.strip())
