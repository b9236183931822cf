"""What an edge does around a transaction: commit first, then publish what it recorded and ring for what it queued.

Redis may be away for either; that is logged and healed (events are read from SQL, queued work is rung for again).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.orm import Session

from posegen.bell import Bell
from posegen.crash_points import Act
from posegen.database import Database
from posegen.errors import BellAway
from posegen.events import recorded_events
from posegen.storage import Links

log = structlog.get_logger()


class Announcer:
    """Writing transactions whose events are published after their commit."""

    def __init__(self, database: Database, bell: Bell, links: Links) -> None:
        self.database = database
        self.bell = bell
        self.links = links

    @contextmanager
    def writing(self, act: Act = Act.COMMIT_REQUEST) -> Iterator[Session]:
        """Yield a writing session; after its commit publish the events it recorded. Raises DatabaseAway."""
        with self.database.writing(act) as session:
            yield session
        for event in recorded_events(session):
            try:
                self.bell.publish(event.user_id, event.on_the_wire(self.links.url))
            except BellAway:
                log.warning("event.not_published", user_id=event.user_id, event_id=event.event_id)
                return

    def ring(self, generation_id: str, *, times: int) -> bool:
        """Ring for a generation's pictures; False when Redis is away (the reconciler rings later)."""
        try:
            self.bell.ring(generation_id, times=times)
        except BellAway:
            log.warning("bell.away", generation_id=generation_id)
            return False
        return True
