"""Which pictures a worker takes next: the rule alone, on plain values, without SQL.

1. Only pictures that can share a forward pass are taken together: the worker's profile, one size and one set of LoRAs.
2. First in line: the unlimited tier (but at most 3 of 4 claims while others wait), then whoever was served least
   recently, user by user in turn, then age.
3. Another size or set waits for the engine to run dry; once the first in line has waited PATIENCE for that, nothing is
   admitted before it. A suspect (it was there when a worker died) is drawn alone, and waits likewise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from posegen.loras import Loras

PATIENCE = timedelta(seconds=30)
"""How long the first in line lets others of the running size pass."""
TIER_SHARE = 3
"""So many claims in a row may go to the unlimited tier while others wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A queued picture, as far as choosing concerns it. `turn` counts its user's queued pictures by age from 0."""

    item_id: str
    user_id: str
    unlimited: bool
    user_served_at: datetime | None
    turn: int
    queued_at: datetime
    size_px: tuple[int, int]
    loras: Loras = ()
    suspect: bool = False

    @property
    def lane(self) -> tuple[tuple[int, int], Loras]:
        """What pictures of one forward share."""
        return self.size_px, self.loras


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the engine can take now: free rows, the size and LoRAs it is drawing, whether a suspect is in it.

    size_px: None when it is dry; then the LoRAs say nothing.
    """

    free_rows: int
    size_px: tuple[int, int] | None = None
    loras: Loras = ()
    holds_suspect: bool = False


def choose(
    candidates: Iterable[Candidate], room: Room, *, recent_unlimited: Sequence[bool] = (), now: datetime
) -> list[Candidate]:
    """Return the pictures to claim, first in line first, at most `room.free_rows`.

    `recent_unlimited` tells of the latest claims, newest first, whether each went to the unlimited tier.
    """
    if room.free_rows < 1 or room.holds_suspect:
        return []
    line = _in_line(candidates, recent_unlimited)
    if not line:
        return []
    first = line[0]
    if room.size_px is None:
        if first.suspect:
            return [first]
        lane = first.lane
    else:
        lane = room.size_px, room.loras
        if (first.suspect or first.lane != lane) and now - first.queued_at >= PATIENCE:
            return []
    fitting = [candidate for candidate in line if candidate.lane == lane and not candidate.suspect]
    return fitting[: room.free_rows]


def _in_line(candidates: Iterable[Candidate], recent_unlimited: Sequence[bool]) -> list[Candidate]:
    ordered = sorted(candidates, key=_precedence)
    unlimited = [candidate for candidate in ordered if candidate.unlimited]
    others = [candidate for candidate in ordered if not candidate.unlimited]
    run = 0
    for was_unlimited in recent_unlimited:
        if not was_unlimited:
            break
        run += 1
    line: list[Candidate] = []
    while unlimited and others:
        if run >= TIER_SHARE:
            line.append(others.pop(0))
            run = 0
        else:
            line.append(unlimited.pop(0))
            run += 1
    return line + unlimited + others


def _precedence(candidate: Candidate) -> tuple[int, float, datetime, str]:
    served = candidate.user_served_at.timestamp() if candidate.user_served_at else 0.0
    return candidate.turn, served, candidate.queued_at, candidate.item_id
