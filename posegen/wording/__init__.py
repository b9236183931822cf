"""Words that are not drawn: a list kept as data, matched on word boundaries, so that Essex and gunmetal pass."""

import re
from functools import cache
from importlib.resources import files

from posegen.errors import WordingRefused


def check_wording(text: str, *, field: str) -> None:
    """Pass the text, or raise WordingRefused naming the first refused wording. `field` is the input's wire name."""
    found = _refused().search(text)
    if found:
        raise WordingRefused(field, found[0].lower())


@cache
def _refused() -> re.Pattern[str]:
    lines = files(__package__).joinpath("refused.txt").read_text(encoding="utf-8").splitlines()
    words = sorted({line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}, key=len)
    spaced = (r"\s+".join(re.escape(part) for part in word.split()) for word in reversed(words))
    return re.compile(rf"\b(?:{'|'.join(spaced)})\b", re.IGNORECASE)
