"""What a worker says of the endpoint that draws for it: in its row for operators and health, and once in its log.

Nothing here knows the token or the address; a reason is a status or a few words.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from gpu_worker.engine_choice import LoadedEngine
from models.hosted.line import LineReport, LineState

log = structlog.get_logger()

REMEDIES = {
    LineState.UNAUTHORISED: "Check HF_ENDPOINT_TOKEN (or HF_TOKEN, HUGGINGFACE_API_KEY) and restart the worker.",
    LineState.EXHAUSTED: "Add credit to the account, or wait for its next month.",
    LineState.AWAY: "Check HF_ENDPOINT_URL and the endpoint's own page; it is tried again by itself.",
}
WELL = (LineState.UNTRIED, LineState.READY)


class DrawingCapability:
    """Says whether a worker follows poses, and how its endpoint is; logs when that changes. Used by one thread."""

    def __init__(self) -> None:
        self._told = LineState.UNTRIED

    def of(self, loaded: LoadedEngine, *, now: datetime | None = None) -> dict[str, Any]:
        """Return what the worker's row says; see posegen.pose_control for who reads it."""
        said: dict[str, Any] = {"followsPoses": loaded.follows_poses}
        if loaded.hosted is not None:
            line = loaded.hosted.line()
            self._log(line)
            said["hosted"] = _said(loaded.hosted.backend.name, line, now or datetime.now(UTC))
        return said

    def _log(self, line: LineReport) -> None:
        if line.state is self._told:
            return
        self._told = line.state
        tell = log.info if line.state in WELL else log.warning
        tell("hosted.state", state=line.state.value, reason=line.reason, remedy=REMEDIES.get(line.state))


def _said(backend: str, line: LineReport, now: datetime) -> dict[str, Any]:
    until = None if not line.shut_for_s else (now + timedelta(seconds=line.shut_for_s)).isoformat(timespec="seconds")
    return {
        "backend": backend,
        "state": line.state.value,
        "reason": line.reason,
        "until": until,
        "remedy": REMEDIES.get(line.state),
    }
