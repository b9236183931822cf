"""Recovery as an administrator sees it, and a round of it by hand."""

from fastapi import APIRouter

from api.access import Administrator
from api.photos import discard
from api.routes import POSE_GENERATOR
from api.service import Parts
from api.wire.recovery import RecoveryTold, RoundTold
from posegen.database import database_now
from posegen.reconciler import reconcile_once
from posegen.recovery_status import recovery_status

router = APIRouter(prefix=f"{POSE_GENERATOR}/recovery", tags=["operations"])


@router.get("/status")
def status(_caller: Administrator, service: Parts) -> RecoveryTold:
    """Tell which open generations wait, are drawn or stand still, and when recovery last ran."""
    with service.database.reading() as session:
        return RecoveryTold.of(recovery_status(session, now=database_now(session)))


@router.post("/trigger")
def recover(_caller: Administrator, service: Parts) -> RoundTold:
    """Return the pictures of dead workers to the queue now, and ring for what waits."""
    done = reconcile_once(service.announcer, witness_since=None)
    discard(service, done.photos)
    return RoundTold.of(done)
