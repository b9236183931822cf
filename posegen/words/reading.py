"""Reading words: which phrases of poses are in a text, for which side, and which other words are left to match by.

The same reading is used for what a customer writes and for the names, tags and descriptions of the library, so a
pose is known to show what its own text says.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from posegen.words.phrases import COMPANY, LEFT, MIRRORED, PHRASES, RIGHT, LentArm, Phrase

_WORDINGS: Final = tomllib.loads(files(__package__).joinpath("wordings.toml").read_text(encoding="utf-8"))
_UNSAID: Final = frozenset(_WORDINGS["unsaid"].split())
_COMMON: Final = frozenset(_WORDINGS["common"].split())
_ENDS_IN_LY: Final = frozenset({"family", "belly", "fly"})
_SIDES: Final = {"right": RIGHT, "left": LEFT}
_WORD: Final = re.compile(r"[^\W_]+(?:'[a-z]+)?|[.,;:!?()]")


@dataclass(frozen=True, slots=True)
class Said:
    """One phrase that was found, and the side it was said of, if any."""

    phrase: Phrase
    side: int | None = None

    @property
    def words(self) -> str:
        """What it is called in an answer."""
        if self.side is None:
            return self.phrase.name
        return f"{self.phrase.name} ({'left' if self.side == LEFT else 'right'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a text says of a pose: its phrases in the order they were said, and stems of the words left over."""

    said: tuple[Said, ...]
    terms: tuple[str, ...]
    mirrored: bool = False

    @property
    def names_a_side(self) -> bool:
        """Whether a mirror image would say something else."""
        return any(said.side is not None for said in self.said)


@lru_cache(maxsize=1024)
def read_wish(text: str) -> Wish:
    """Read a text. Longer wordings win over shorter ones; each word is used once."""
    words = _words(text)
    said: list[Said] = []
    left: list[str] = []
    at = 0
    while at < len(words):
        found = _longest(words, at)
        if found is None:
            left.append(words[at])
            at += 1
            continue
        one, taken = found
        if one.side is None and words[at + taken + 1 : at + taken + 2] in (["hand"], ["arm"]):
            side = _SIDES.get(words[at + taken]) if isinstance(one.phrase.change, LentArm) else None
            one, taken = (one, taken) if side is None else (Said(one.phrase, side), taken + 2)
        if one not in said:
            said.append(one)
        at += taken
    company = [one for one in said if one.phrase in COMPANY]
    return Wish(
        said=tuple(one for one in said if one.phrase is not MIRRORED and one not in company[1:]),
        terms=tuple(dict.fromkeys(stem(word) for word in left if _is_content(word))),
        mirrored=any(one.phrase is MIRRORED for one in said),
    )


def terms_of(text: str) -> tuple[str, ...]:
    """Return the stems of every word of the text that says something, phrases or not."""
    return tuple(dict.fromkeys(stem(word) for word in _words(text) if _is_content(word)))


def stem(word: str) -> str:
    """Return what is common to sit, sits and sitting; crude, but the same for both sides of a comparison."""
    for ending in ("ingly", "ing", "edly", "ed", "ers", "er", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word


def _is_content(word: str) -> bool:
    return len(word) > 2 and word.isalnum() and word not in _COMMON


def _words(text: str) -> list[str]:
    """Split into lower-case words and punctuation, without what says nothing of a pose."""
    words = _WORD.findall(text.lower().replace("’", "'"))
    return [word for word in words if word not in _UNSAID and (not word.endswith("ly") or word in _ENDS_IN_LY)]


def _longest(words: list[str], at: int) -> tuple[Said, int] | None:
    best: tuple[int, Said] | None = None
    for phrase, wording in _wordings():
        matched = _match(wording, words, at)
        if matched is not None and (best is None or matched[0] > best[0]):
            best = (matched[0], Said(phrase, matched[1]))
    return None if best is None else (best[1], best[0])


def _match(wording: tuple["_Slot", ...], words: list[str], at: int) -> tuple[int, int | None] | None:
    """Return how many words the wording takes from here, and the side they name; None if it is not said here."""
    place, side = at, None
    for slot in wording:
        word = words[place] if place < len(words) else ""
        if slot.takes(word):
            side = _SIDES.get(word, side) if slot.side else side
            place += 1
        elif not slot.optional:
            return None
    return (place - at, side) if place > at else None


@dataclass(frozen=True, slots=True)
class _Slot:
    words: frozenset[str]
    beginnings: tuple[str, ...]
    side: bool
    optional: bool

    def takes(self, word: str) -> bool:
        return (
            word in self.words
            or (self.side and word in _SIDES)
            or bool(self.beginnings and word.startswith(self.beginnings))
        )


@cache
def _wordings() -> tuple[tuple[Phrase, tuple[_Slot, ...]], ...]:
    said = {name: wordings for group in _WORDINGS["wordings"].values() for name, wordings in group.items()}
    return tuple((phrase, tuple(map(_slot, wording.split()))) for phrase in PHRASES for wording in said[phrase.name])


def _slot(written: str) -> _Slot:
    optional = written.endswith("?")
    named = _WORDINGS["alternatives"]
    alternatives = "|".join(named.get(word, word) for word in written.removesuffix("?").split("|")).split("|")
    return _Slot(
        words=frozenset(word for word in alternatives if word != "SIDE" and not word.endswith("*")),
        beginnings=tuple(word[:-1] for word in alternatives if word.endswith("*")),
        side="SIDE" in alternatives,
        optional=optional,
    )
