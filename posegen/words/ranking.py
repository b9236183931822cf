"""How well a pose's own text fits a wish: arithmetic over a few hundred poses, the same on every database.

A phrase counts most where a pose shows it by itself, less where it has to be bent; other words count by how rare they
are in the library and where they stand: in the name, or in tags and description. What a pose shows that nobody asked
for is taken off.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from posegen.words.phrases import ARMS, STANCES
from posegen.words.reading import Said, Wish, read_wish, terms_of

NEUTRAL: Final = "relaxed-front"
_BENT: Final = 0.6  # what a phrase counts that has to be bent, against one that the pose shows by itself
_BENT_BASE: Final = 0.88  # the same for the plain poses that stances are known by: they are there to be bent
_TERM: Final = 0.8  # what a rare word in the name counts, against a phrase
_OUTSIDE_OF_NAME: Final = 0.4
_UNKNOWN_TERM: Final = 0.5  # weight of a word that no pose has: it says that the text is of something else
_UNASKED: Final = 0.06  # taken off per phrase the pose shows, and per word of its name, that nobody asked for
_MOST_UNASKED: Final = 5
_BASE: Final = 0.04  # plain poses win a tie
_TAKEN_FOR_GRANTED: Final = frozenset(
    {"standing", "arms hanging", "seen from the front", "three-quarter view", "looking at the camera"}
)
_WRONG_COMPANY: Final = 0.7  # nobody can be added to a pose or taken out of it


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEntry:
    """A pose of a library as it is kept: `people` is OpenPose JSON. `key` is the keeper's own name for it."""

    key: str | None
    slug: str
    name: str
    description: str
    tags: tuple[str, ...]
    people: dict[str, Any]


class Shelf:
    """What the ranking has to know of the library as a whole: how rare each word is."""

    def __init__(self, entries: Sequence[LibraryEntry]) -> None:
        self._count = len(entries)
        self._holding = Counter(term for entry in entries for term in terms_of_entry(entry))

    def rarity(self, term: str) -> float:
        """Return 0..1: near 0 for a word of every pose, 1 for one that a single pose has."""
        held = self._holding.get(term, 0)
        if not held or self._count < 2:
            return 1.0 if held else _UNKNOWN_TERM
        return math.log(1 + self._count / held) / math.log(1 + self._count)

    def knows(self, term: str) -> bool:
        """Whether any pose has the word."""
        return term in self._holding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    wish: Wish
    name_wish: Wish
    shows: frozenset[str]
    sides: frozenset[Said]
    name_terms: frozenset[str]
    terms: frozenset[str]


@lru_cache(maxsize=4096)
def _read(name: str, description: str, tags: tuple[str, ...]) -> _Text:
    wish = read_wish(". ".join((name, description, *tags)))
    names = {one.phrase.name for one in wish.said}
    implied = {name for one in wish.said for name in one.phrase.implies}
    in_name = frozenset(terms_of(name))
    return _Text(
        wish=wish,
        name_wish=read_wish(name),
        shows=frozenset(names | implied),
        sides=frozenset(wish.said),
        name_terms=in_name,
        terms=in_name | frozenset(terms_of(f"{description}. {'. '.join(tags)}")),
    )


def _text(entry: LibraryEntry) -> _Text:
    return _read(entry.name, entry.description, entry.tags)


def terms_of_entry(entry: LibraryEntry) -> frozenset[str]:
    """Return the stems of all words of the pose's texts."""
    return _text(entry).terms


def shows(entry: LibraryEntry, one: Said) -> bool:
    """Whether the pose shows the phrase by itself, on the side it was said of."""
    people = one.phrase.people
    if people is not None:
        return people[0] <= len(entry.people.get("people", ())) <= people[1]
    return one in _text(entry).sides if one.side is not None else one.phrase.name in _text(entry).shows


def hoped_score(wish: Wish, entry: LibraryEntry, shelf: Shelf) -> float:
    """Return the score the pose would have if everything could be bent that has to be."""
    alone = len(entry.people.get("people", ())) == 1
    if not alone and not any(one.phrase.people for one in wish.said):
        return 0.0
    shown = [one for one in wish.said if shows(entry, one)]
    if not shown and not terms_of_entry(entry) & set(wish.terms) and entry.slug not in bases_of(wish):
        return 0.0  # bent to everything it does not show, it would be any pose
    could = [one for one in wish.said if one not in shown and one.phrase.change is not None] if alone else []
    if _spoils(shown, could):
        return 0.0
    return score_of(wish, entry, shelf, len(shown), len(could))


def _spoils(shown: Sequence[Said], bent: Sequence[Said]) -> bool:
    """Whether bending would take the arms away that the pose was found for."""
    return any(one.phrase in ARMS for one in shown) and any(one.phrase in ARMS for one in bent)


def score_of(wish: Wish, entry: LibraryEntry, shelf: Shelf, shown: int, bent: int) -> float:
    """Return how well the pose fits, 0..1, with so many phrases that it shows and so many that it was bent to."""
    text = _text(entry)
    weights = {term: shelf.rarity(term) for term in wish.terms if shelf.knows(term) or not wish.said}
    whole = len(wish.said) + _TERM * sum(weights.values())
    if not whole:
        return 0.0
    matched = sum(
        weight * (1.0 if term in text.name_terms else _OUTSIDE_OF_NAME)
        for term, weight in weights.items()
        if term in text.terms
    )
    if entry.slug in bases_of(wish):
        score = (shown + _BENT_BASE * bent + _TERM * matched) / whole + _BASE
    else:
        unasked = min(_MOST_UNASKED, _unasked(wish, text))
        score = (shown + _BENT * bent + _TERM * matched) / whole - _UNASKED * unasked
    if any(one.phrase.people and not shows(entry, one) for one in wish.said):
        score *= _WRONG_COMPANY
    return max(0.0, min(1.0, round(score, 4)))


def _unasked(wish: Wish, text: _Text) -> int:
    asked = {one.phrase.name for one in wish.said} | _TAKEN_FOR_GRANTED
    asked |= {name for one in wish.said for name in one.phrase.implies}
    more = sum(2 if one.phrase in STANCES else 1 for one in text.wish.said if one.phrase.name not in asked)
    return more + len(set(text.name_wish.terms) - set(wish.terms))


def bases_of(wish: Wish) -> list[str]:
    """Return the shipped poses to begin with: those of the stances that were said, else the neutral one."""
    said = {one.phrase.name for one in wish.said}
    return [slug for stance in STANCES if stance.name in said for slug in stance.bases] or [NEUTRAL]
