"""A Socket.IO client that hears events in the order they were sent, for scripts and tests that follow orders.

python-socketio's own client gives each packet a thread of its own, which tells them in any order.
"""

from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio


class _Wire(engineio.Client):  # type: ignore[misc]
    def _trigger_event(self, event: str, *arguments: Any, **more: Any) -> Any:
        return super()._trigger_event(event, *arguments, **{**more, "run_async": False})


class LiveClient(socketio.Client):  # type: ignore[misc]
    """socketio.Client, one packet after the other. A handler must not wait for another packet."""

    def _engineio_client_class(self) -> type[_Wire]:
        return _Wire
