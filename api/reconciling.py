"""The reconciler's loop in an API process: a round of healing every few seconds, through every outage.

A worker's death may only be counted against its pictures by a witness that was in touch with the database all the
while; this loop is one, from its first good round until a round fails or this process itself was asleep.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from posegen.announcing import Announcer
from posegen.errors import DatabaseAway
from posegen.reconciler import reconcile_once

log = structlog.get_logger()

MOST_SLEEP = timedelta(seconds=10)
"""A longer pause between two rounds than asked for means that this process was not running."""


async def keep_reconciled(announcer: Announcer, *, every_s: float) -> None:
    """Run rounds for ever. Never raises: what goes wrong is logged, and tried again."""
    witness_since: datetime | None = None
    last_round = datetime.now(UTC)
    away = False
    while True:
        if datetime.now(UTC) - last_round > timedelta(seconds=every_s) + MOST_SLEEP:
            witness_since = None
        try:
            done = await asyncio.to_thread(reconcile_once, announcer, witness_since=witness_since)
            witness_since = witness_since or done.ended_at
            if away:
                log.info("database.back")
            away = False
            if done.requeued or done.failed or done.rung:
                log.info("reconciler.healed", requeued=done.requeued, failed=done.failed, rung=done.rung)
        except DatabaseAway as error:
            if not away:
                log.warning("database.away", cause=str(error.__cause__))
            witness_since, away = None, True
        except Exception:
            log.exception("reconciler.failed")
            witness_since = None
        last_round = datetime.now(UTC)
        await asyncio.sleep(every_s)
