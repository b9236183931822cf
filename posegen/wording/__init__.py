"""Words that are not drawn: a list kept as data, matched on word boundaries, so that Essex and gunmetal pass.

Letters are compared without accents, widths and invisible characters, which a model reads over as people do.
"""

import re
import unicodedata
from functools import cache
from importlib.resources import files

from posegen.errors import WordingRefused


def check_wording(text: str, *, field: str) -> None:
    """Pass the text, or raise WordingRefused naming the first refused wording. `field` is the input's wire name."""
    found = _refused().search(_plain(text))
    if found:
        raise WordingRefused(field, found[0].lower())


@cache
def _refused() -> re.Pattern[str]:
    lines = files(__package__).joinpath("refused.txt").read_text(encoding="utf-8").splitlines()
    words = sorted({line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}, key=len)
    spaced = (r"[\s_-]+".join(re.escape(part) for part in word.split()) for word in reversed(words))
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spaced)})(?![^\W_])", re.IGNORECASE)


def _plain(text: str) -> str:
    """Return the text with every letter in its plainest form."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if unicodedata.category(letter) not in ("Mn", "Cf"))
