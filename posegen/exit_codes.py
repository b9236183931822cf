"""With which exit code a process of the service ends, and what its supervisor makes of it: the one table of them.

`scripts/supervisor.py` follows it, and so may systemd or Compose; docs/operations.md shows it to operators.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a process ended. The numbers are sysexits(3)'s where it has a fitting one."""

    DONE = 0  # asked to end, or a burst is drawn
    FAILED = 1  # a part of the service stayed away, or something nobody foresaw: another try may succeed
    ENGINE_BROKE = 70  # the engine raised or hung; the card may be well
    CARD_FAILED = 74  # the card broke under the process: only another process can use it again, if any
    CUT_SHORT = 75  # asked to end, and had to be stopped in the middle of something
    CANNOT_START = 78  # a setting, the tables or the weights are wrong: another try would end the same way
