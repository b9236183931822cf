"""What ends a worker, as one tree; each class carries the exit code its supervisor sees.

WorkerError
├── CannotStart      78  a setting, the database's tables or the weights are missing: a restart will not help
└── EngineBroke      70  the engine or its card failed; another process will redraw what this one held
"""


class WorkerError(Exception):
    """Root of what ends a worker on purpose."""

    exit_code = 1


class CannotStart(WorkerError):
    """Something that a restart will not mend; the message says what to do."""

    exit_code = 78


class EngineBroke(WorkerError):
    """The engine raised in its loop. Its pictures' leases lapse and they are drawn again elsewhere."""

    exit_code = 70
