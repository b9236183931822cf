"""Choosing poses for words: the most hopeful of a library, bent to what they do not show by themselves.

Every candidate can say why it was chosen, and what it still does not show. Where nothing fits there is the neutral
pose, so that words always end in key-points and never in a picture without them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from posegen.poses.authoring import AuthoredPose
from posegen.poses.errors import PoseRefused
from posegen.poses.keypoints import Pose
from posegen.poses.openpose import pose_from_openpose, pose_to_openpose
from posegen.poses.skeleton import L_ANKLE, R_ANKLE
from posegen.poses.transforms import mirrored_pose
from posegen.poses.validation import validate_pose
from posegen.words.bending import bent_pose, shipped_library, shipped_pose, with_figures
from posegen.words.ranking import (
    NEUTRAL,
    LibraryEntry,
    Shelf,
    bases_of,
    hoped_score,
    score_of,
    shows,
    terms_of_entry,
)
from posegen.words.reading import Wish, read_wish
from posegen.words.turning import mirrored_figure

_LEAST_SCORE: Final = 0.3
_BENT_AT_MOST: Final = 6  # poses that are bent to see what becomes of them


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
    for slug in (*bases_of(wish), NEUTRAL):
        entries.setdefault(slug, _shipped_entry(slug))
    shelf = Shelf(tuple(entries.values()))
    hopes = sorted((-hoped_score(wish, entry, shelf), entry.slug) for entry in entries.values())
    found: list[Candidate] = []
    for hoped, slug in hopes[: max(_BENT_AT_MOST, 2 * limit)]:
        if -hoped >= _LEAST_SCORE and (candidate := _candidate(wish, entries[slug], shelf)) is not None:
            found.append(candidate)
    found = [one for one in found if one.score >= _LEAST_SCORE and not one.found_nothing]
    found.sort(key=lambda one: (-one.score, one.entry.slug))
    return found[:limit] or [_neutral(wish, entries[NEUTRAL])]


def _candidate(wish: Wish, entry: LibraryEntry, shelf: Shelf) -> Candidate | None:
    authored = _authored(entry)
    if authored is None:
        return None
    shown = [one for one in wish.said if shows(entry, one)]
    bent_to, made = bent_pose(authored, [one for one in wish.said if one not in shown])
    return Candidate(
        entry=entry,
        authored=_mirrored(bent_to) if wish.mirrored else bent_to,
        score=score_of(wish, entry, shelf, len(shown), len(made)),
        shown=tuple(one.words for one in shown),
        bent=tuple(one.words for one in made),
        missing=tuple(one.words for one in wish.said if one not in shown and one not in made),
        matched=tuple(term for term in wish.terms if term in terms_of_entry(entry)),
        mirrored=wish.mirrored,
    )


def _neutral(wish: Wish, entry: LibraryEntry) -> Candidate:
    authored = _authored(entry)
    if authored is None:  # somebody's own neutral pose that no body can take
        entry, authored = _shipped_entry(NEUTRAL), shipped_pose(NEUTRAL)
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
