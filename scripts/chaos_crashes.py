"""Every crash point, one after the other: a process armed with CRASH_AT does its work until it dies there.

The API is started again with each point; of the workers an extra one is armed beside the others, which then take over
what it held. What each point needs to be reached (a failed picture, a lost claim, a drain) is made to happen.
"""

import signal
import time
from collections.abc import Callable

from chaos_faults import Faults
from chaos_ground import Ground, Process
from chaos_plan import CRASH_WITHIN_S, Fault

from posegen.crash_points import Act, Moment

API_ACTS = (
    *(Act.COMMIT_REQUEST, Act.COMMIT_ORDER, Act.COMMIT_CANCEL, Act.COMMIT_HEALING, Act.COMMIT_UPKEEP),
    *(Act.REDIS_RING, Act.REDIS_PUBLISH, Act.REDIS_SUBSCRIBE, Act.REDIS_READ, Act.REDIS_PING, Act.REDIS_RATES),
)
WORKER_ACTS = (
    *(Act.COMMIT_CLAIM, Act.COMMIT_STARTED, Act.COMMIT_DELIVERY, Act.COMMIT_FAILURE, Act.COMMIT_RETURN),
    *(Act.COMMIT_RENEWAL, Act.COMMIT_REPORT, Act.COMMIT_HEALING, Act.COMMIT_UPKEEP),
    *(Act.REDIS_RING, Act.REDIS_JOB, Act.REDIS_PUBLISH, Act.REDIS_READ),
    *(Act.FILE_PUT, Act.FILE_FLUSH, Act.FILE_DELETE),
)
CROSSINGS = tuple(
    (role, f"{moment}:{act}")
    for role, acts in (("api", API_ACTS), ("worker", WORKER_ACTS))
    for act in acts
    for moment in Moment
)
"""Who dies where: every point in every process that reaches it."""


def crossings_of(acts: str) -> tuple[tuple[str, str], ...]:
    """Return the crossings of acts named like "commit.cancel,redis.publish", all for "". Raises ValueError."""
    wanted = {Act(act.strip()) for act in acts.split(",") if act.strip()}
    return tuple((role, point) for role, point in CROSSINGS if not wanted or point.partition(":")[2] in wanted)


ONCE = (Act.COMMIT_RETURN, Act.REDIS_SUBSCRIBE, Act.REDIS_JOB)
"""What a process does once in a while, or once: it dies at the first time, again and again."""
_URGE_EVERY_S = 0.5


class Crashes:
    """Arms, urges and waits. Belongs to the main thread."""

    def __init__(
        self,
        ground: Ground,
        faults: Faults,
        tick: Callable[[], None],
        feed: Callable[[], None],
        cancel: Callable[[], None],
    ) -> None:
        self.done: dict[str, int] = {}
        self.missed: list[str] = []
        self._ground = ground
        self._faults = faults
        self._tick = tick
        self._feed = feed
        self._cancel = cancel

    def everywhere(self, times: int, acts: str = "") -> None:
        """Let a process die at each point of some acts (all) so often, a visit later each time."""
        for role, point in crossings_of(acts):
            for visit in range(1, times + 1):
                nth = 1 if any(point.endswith(act) for act in ONCE) else visit
                armed = self._arm_api(point, nth) if role == "api" else self._arm_worker(point, nth)
                name = f"{role} {point}"
                if self._dies(armed, point):
                    self.done[name] = self.done.get(name, 0) + 1
                else:
                    self.missed.append(f"{name}:{nth}")
                self._end(armed)

    def _arm_api(self, point: str, nth: int) -> Process:
        """Start the API again, armed. Once it died it is started again unarmed, like after any end."""
        api = self._ground.api
        api.expected = True
        api.send(signal.SIGKILL)
        while api.running:
            self._tick()
        api.start(CRASH_AT=f"{point}:{nth}")
        api.expected = True
        return api

    def _arm_worker(self, point: str, nth: int) -> Process:
        """Start a worker more, armed."""
        extra = self._ground.extra_worker(CRASH_AT=f"{point}:{nth}")
        extra.expected = True
        return extra

    def _dies(self, armed: Process, point: str) -> bool:
        """Wait until the process died of its own hand; False when it did not in time."""
        deadline = time.monotonic() + CRASH_WITHIN_S
        urged_at = 0.0
        child = armed.child  # the API's place may be filled again before we look
        while time.monotonic() < deadline:
            code = child.poll() if child is not None else None
            if code is not None:
                self._ground.notes.add("crashed", process=armed.name, point=point, code=code)
                if armed is not self._ground.api:
                    self._ground.notes.add("worker_killed", pid=armed.pid, name=armed.name, held=[])
                return code == -signal.SIGKILL
            if time.monotonic() - urged_at > _URGE_EVERY_S:
                urged_at = time.monotonic()
                self._urge(armed, point)
            self._tick()
        return False

    def _urge(self, armed: Process, point: str) -> None:
        """Make happen what the point needs, beyond orders."""
        act = point.partition(":")[2]
        if act == Act.REDIS_JOB:
            return  # a job lasts until nothing waits
        self._feed()
        if act == Act.COMMIT_FAILURE:
            self._faults.poison(3)
        elif armed is self._ground.api and act in (Act.COMMIT_CANCEL, Act.REDIS_PUBLISH):
            self._cancel()  # customers do so rarely, and the API itself has little to tell
        elif act == Act.FILE_DELETE:
            self._faults.take_away_from(armed)
        elif act == Act.REDIS_RING and armed is not self._ground.api:
            self._faults.inflict(Fault.REDIS_FLUSH)  # a worker's healer rings only when no ring is waiting
        elif act == Act.COMMIT_RETURN and self._faults.held_by(armed):
            armed.send(signal.SIGTERM)

    def _end(self, armed: Process) -> None:
        """End what did not die."""
        if armed is not self._ground.api and armed.running and armed.child is not None:
            armed.child.kill()
            armed.child.wait()
