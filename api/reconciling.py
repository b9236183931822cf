"""The reconciler's loop in an API process: a round of healing every few seconds, through every outage."""

import asyncio

from posegen.announcing import Announcer
from posegen.reconciler import Healer
from posegen.upkeep import Upkeep


async def keep_reconciled(announcer: Announcer, upkeep: Upkeep, *, every_s: float) -> None:
    """Run rounds for ever, off the event loop. Never raises."""
    healer = Healer(announcer, every_s=every_s, upkeep=upkeep)
    while True:
        await asyncio.to_thread(healer.heal)
        await asyncio.sleep(every_s)
