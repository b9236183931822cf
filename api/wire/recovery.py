"""Recovery on the wire, for operators."""

from api.wire.base import Moment, Told
from posegen.reconciler import Round
from posegen.recovery_status import RecoveryStatus


class RecoveryTold(Told):
    """How recovery stands. Every open generation is counted once; the last run is null before the first."""

    stalled_generations: int
    queued_generations: int
    processing_generations: int
    last_recovery_run: Moment | None

    @classmethod
    def of(cls, status: RecoveryStatus) -> "RecoveryTold":
        """Describe how it stands."""
        return cls(
            stalled_generations=status.stalled,
            queued_generations=status.queued,
            processing_generations=status.processing,
            last_recovery_run=status.last_run_at,
        )


class RoundTold(Told):
    """What a round of recovery did: pictures returned to the queue, pictures given up and refunded, and rings."""

    success: bool = True
    recovered: int
    failed: int
    rung: int

    @classmethod
    def of(cls, done: Round) -> "RoundTold":
        """Describe a round."""
        return cls(recovered=done.requeued, failed=done.failed, rung=done.rung)
