"""Choosing poses for words: how well each pose of a library shows them as it is, and what can be bent to show more.

The ranking is arithmetic over a few hundred poses, made in Python from their texts: the same on every database, and
each score can be said in words. A phrase counts most where a pose shows it by itself, less where it has to be bent;
other words count by how rare they are in the library and where they stand: in the name, or in tags and description.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Final

from posegen.poses.authoring import AuthoredPose
from posegen.poses.errors import PoseRefused
from posegen.poses.keypoints import Pose
from posegen.poses.openpose import pose_from_openpose, pose_to_openpose
from posegen.poses.skeleton import L_ANKLE, R_ANKLE
from posegen.poses.transforms import mirrored_pose
from posegen.poses.validation import validate_pose
from posegen.words.bending import bent_pose, shipped_library, shipped_pose, with_figures
from posegen.words.phrases import ARMS, STANCES
from posegen.words.reading import Said, Wish, read_wish, terms_of
from posegen.words.turning import mirrored_figure

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
_LEAST_SCORE: Final = 0.3
_BENT_AT_MOST: Final = 6  # poses that are bent to see what becomes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEntry:
    """A pose of a library as it is kept: `people` is OpenPose JSON. `key` is the keeper's own name for it."""

    key: str | None
    slug: str
    name: str
    description: str
    tags: tuple[str, ...]
    people: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pose for the words: what it was made from, how well it fits (0..1), and why, in words.

    `shown` are phrases the pose shows by itself, `bent` those it was bent to, `missing` those it does not show.
    """

    entry: LibraryEntry
    authored: AuthoredPose
    score: float
    shown: tuple[str, ...]
    bent: tuple[str, ...]
    missing: tuple[str, ...]
    matched: tuple[str, ...]
    mirrored: bool

    @property
    def pose(self) -> Pose:
        """The key-points."""
        return self.authored.pose

    @property
    def is_unchanged(self) -> bool:
        """Whether these are the library's own key-points."""
        return not self.bent and not self.mirrored

    @property
    def found_nothing(self) -> bool:
        """Whether the words said nothing that this pose shows."""
        return not (self.shown or self.bent or self.matched)

    @property
    def why(self) -> str:
        """Why it was chosen, in a sentence."""
        if self.found_nothing:
            return f'No pose fits these words; this is the neutral pose "{self.entry.name}".'
        parts = [
            f"shows {_listed(self.shown)}" if self.shown else "",
            f"was changed to: {_listed(self.bent)}" if self.bent else "",
            f"has the words {_listed(self.matched)}" if self.matched else "",
            "was mirrored" if self.mirrored else "",
            f"does not show: {_listed(self.missing)}" if self.missing else "",
        ]
        return f'The pose "{self.entry.name}" {"; ".join(part for part in parts if part)}.'


def best_poses(text: str, library: Iterable[LibraryEntry], limit: int) -> list[Candidate]:
    """Return up to `limit` candidates, best first, at least one: the neutral pose if the words say nothing known.

    Poses of the library that the validator refuses are left out; every candidate passes it.
    """
    wish = read_wish(text)
    entries = {entry.slug: entry for entry in library}
    for slug in (*_bases(wish), NEUTRAL):
        entries.setdefault(slug, _shipped_entry(slug))
    shelf = _Shelf(tuple(entries.values()))
    hopes = sorted((-_hoped(wish, entry, shelf), entry.slug) for entry in entries.values())
    found: list[Candidate] = []
    for hoped, slug in hopes[: max(_BENT_AT_MOST, 2 * limit)]:
        if -hoped >= _LEAST_SCORE and (candidate := _candidate(wish, entries[slug], shelf)) is not None:
            found.append(candidate)
    found = [one for one in found if one.score >= _LEAST_SCORE and not one.found_nothing]
    found.sort(key=lambda one: (-one.score, one.entry.slug))
    return found[:limit] or [_neutral(wish, entries[NEUTRAL])]


class _Shelf:
    """What the ranking has to know of the library as a whole: how rare each word is."""

    def __init__(self, entries: Sequence[LibraryEntry]) -> None:
        self._count = len(entries)
        self._holding = Counter(term for entry in entries for term in _terms(entry))

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


def _terms(entry: LibraryEntry) -> frozenset[str]:
    return _text(entry).terms


def _shows(entry: LibraryEntry, one: Said) -> bool:
    """Whether the pose shows the phrase by itself, on the side it was said of."""
    people = one.phrase.people
    if people is not None:
        return people[0] <= len(entry.people.get("people", ())) <= people[1]
    return one in _text(entry).sides if one.side is not None else one.phrase.name in _text(entry).shows


def _hoped(wish: Wish, entry: LibraryEntry, shelf: _Shelf) -> float:
    """Return the score the pose would have if everything could be bent that has to be."""
    alone = len(entry.people.get("people", ())) == 1
    if not alone and not any(one.phrase.people for one in wish.said):
        return 0.0
    shown = [one for one in wish.said if _shows(entry, one)]
    if not shown and not _text(entry).terms & set(wish.terms) and entry.slug not in _bases(wish):
        return 0.0  # bent to everything it does not show, it would be any pose
    could = [one for one in wish.said if one not in shown and one.phrase.change is not None] if alone else []
    if _spoils(shown, could):
        return 0.0
    return _score(wish, entry, shelf, len(shown), len(could))


def _spoils(shown: Sequence[Said], bent: Sequence[Said]) -> bool:
    """Whether bending would take the arms away that the pose was found for."""
    return any(one.phrase in ARMS for one in shown) and any(one.phrase in ARMS for one in bent)


def _score(wish: Wish, entry: LibraryEntry, shelf: _Shelf, shown: int, bent: int) -> float:
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
    if entry.slug in _bases(wish):
        score = (shown + _BENT_BASE * bent + _TERM * matched) / whole + _BASE
    else:
        unasked = min(_MOST_UNASKED, _unasked(wish, text))
        score = (shown + _BENT * bent + _TERM * matched) / whole - _UNASKED * unasked
    if any(one.phrase.people and not _shows(entry, one) for one in wish.said):
        score *= _WRONG_COMPANY
    return max(0.0, min(1.0, round(score, 4)))


def _unasked(wish: Wish, text: _Text) -> int:
    asked = {one.phrase.name for one in wish.said} | _TAKEN_FOR_GRANTED
    asked |= {name for one in wish.said for name in one.phrase.implies}
    more = sum(2 if one.phrase in STANCES else 1 for one in text.wish.said if one.phrase.name not in asked)
    return more + len(set(text.name_wish.terms) - set(wish.terms))


def _candidate(wish: Wish, entry: LibraryEntry, shelf: _Shelf) -> Candidate | None:
    authored = _authored(entry)
    if authored is None:
        return None
    shown = [one for one in wish.said if _shows(entry, one)]
    bent_to, made = bent_pose(authored, [one for one in wish.said if one not in shown])
    return Candidate(
        entry=entry,
        authored=_mirrored(bent_to) if wish.mirrored else bent_to,
        score=_score(wish, entry, shelf, len(shown), len(made)),
        shown=tuple(one.words for one in shown),
        bent=tuple(one.words for one in made),
        missing=tuple(one.words for one in wish.said if one not in shown and one not in made),
        matched=tuple(term for term in wish.terms if term in _text(entry).terms),
        mirrored=wish.mirrored,
    )


def _neutral(wish: Wish, entry: LibraryEntry) -> Candidate:
    authored = _authored(entry) or shipped_pose(NEUTRAL)
    return Candidate(
        entry=entry,
        authored=_mirrored(authored) if wish.mirrored else authored,
        score=0.0,
        shown=(),
        bent=(),
        missing=tuple(one.words for one in wish.said),
        matched=(),
        mirrored=wish.mirrored,
    )


def _mirrored(authored: AuthoredPose) -> AuthoredPose:
    figures = [solved.figure for solved in authored.figures if solved is not None]
    if len(figures) == len(authored.figures):
        turned = with_figures(authored, tuple(mirrored_figure(figure) for figure in figures))
        if turned is not None:
            return turned
    return replace(authored, pose=mirrored_pose(authored.pose), figures=(None,) * len(authored.figures))


def _bases(wish: Wish) -> list[str]:
    """Return the shipped poses to begin with: those of the stances that were said, else the neutral one."""
    said = {one.phrase.name for one in wish.said}
    return [slug for stance in STANCES if stance.name in said for slug in stance.bases] or [NEUTRAL]


def _shipped_entry(slug: str) -> LibraryEntry:
    authored = shipped_pose(slug)
    return LibraryEntry(
        key=None,
        slug=slug,
        name=authored.name,
        description=authored.description,
        tags=authored.tags,
        people=_shipped_people(slug),
    )


@cache
def _shipped_people(slug: str) -> dict[str, Any]:
    return pose_to_openpose(shipped_pose(slug).pose)


def _authored(entry: LibraryEntry) -> AuthoredPose | None:
    """Return the pose with its figures where its key-points are a shipped one's; None for one that is not valid."""
    shipped = {authored.slug for authored in shipped_library().poses}
    if entry.slug in shipped and entry.people == _shipped_people(entry.slug):
        return shipped_pose(entry.slug)
    try:
        pose = pose_from_openpose(entry.people).pose
    except PoseRefused:
        return None
    cut_off = any(person.body[R_ANKLE] is None and person.body[L_ANKLE] is None for person in pose.people)
    authored = replace(
        shipped_pose(NEUTRAL),
        slug=entry.slug,
        name=entry.name,
        description=entry.description,
        support="cut_off" if cut_off else "seat",  # what carries it is not known, so its balance is not judged
        pose=pose,
        figures=(None,) * len(pose.people),
    )
    return None if validate_pose(authored) else authored


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
