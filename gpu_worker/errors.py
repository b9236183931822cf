"""What ends a worker, as one tree; each class carries the exit code its supervisor sees (posegen.exit_codes).

WorkerError
├── CannotStart      CANNOT_START  a setting, the database's tables or the weights are missing
├── EngineBroke      ENGINE_BROKE  the engine raised, or has no memory; its pictures are drawn by another process
└── CardBroke        CARD_FAILED   the card broke under it; nothing on the card may be touched any more
"""

from models.errors import CardFailed
from posegen.exit_codes import ExitCode


class WorkerError(Exception):
    """Root of what ends a worker on purpose."""

    exit_code = ExitCode.FAILED


class CannotStart(WorkerError):
    """Something that a restart will not mend; the message says what to do."""

    exit_code = ExitCode.CANNOT_START


class EngineBroke(WorkerError):
    """The engine raised in its loop, or could not be loaded for a reason that may pass."""

    exit_code = ExitCode.ENGINE_BROKE


class CardBroke(WorkerError):
    """The card failed, while loading or drawing. The process must end at once: destructors would use the card."""

    exit_code = ExitCode.CARD_FAILED


def ended_by(failure: BaseException) -> EngineBroke | CardBroke:
    """Return what a failed engine ends its worker with."""
    return CardBroke(str(failure)) if isinstance(failure, CardFailed) else EngineBroke(f"The engine failed: {failure}")
