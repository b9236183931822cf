"""How long things took, read from what the recorder saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos_recorder import Move

from posegen.statuses import ItemStatus


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that `share` of all are not above; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 1)


@dataclass(slots=True)
class AfterDeath:
    """How long after a worker's death its pictures were queued again, and held by another; in seconds."""

    returned: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)


def after_death(all_moves: Sequence[Move], worker: str, died_at: float) -> AfterDeath:
    """Follow every picture that a worker held when it died. Those that were finished or cancelled are left out."""
    held: set[str] = set()
    after = AfterDeath()
    for move in all_moves:
        if move.to_status == ItemStatus.DRAWING and (move.to_worker or "").startswith(worker):
            held.add(move.item_id)
        elif move.item_id in held:
            if move.at > died_at and move.to_status == ItemStatus.QUEUED:
                after.returned.append(move.at - died_at)
                continue
            if move.at > died_at and move.to_status == ItemStatus.DRAWING:
                after.taken.append(move.at - died_at)
            held.discard(move.item_id)
    return after
