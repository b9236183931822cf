"""An item moves as ITEM_MOVES allows and in no other way: every move function is tried from every state."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import update
from support.house import NOW, House, later

from posegen.errors import Conflict
from posegen.finishing import cancel_generation
from posegen.leases import Claim, give_back, renew_leases
from posegen.recovery import CRASHES_ALONE, return_lapsed
from posegen.statuses import ITEM_MOVES, OPEN_ITEM_STATUSES, ItemStatus
from posegen.tables import Generation, WorkItem

Move = Callable[[House, Claim], object]


def _claim(house: House, claim: Claim) -> None:
    house.claim(now=later(1))


def _deliver(house: House, claim: Claim) -> None:
    house.deliver(claim)


def _fail(house: House, claim: Claim) -> None:
    house.fail(claim)


def _give_back(house: House, claim: Claim) -> None:
    with house.database.writing() as session:
        give_back(session, claim.item_id, claim.attempt, now=NOW)


def _renew(house: House, claim: Claim) -> None:
    with house.database.writing() as session:
        renew_leases(session, [(claim.item_id, claim.attempt)], lease_s=20, now=NOW)


def _cancel(house: House, claim: Claim) -> None:
    with suppress(Conflict), house.database.writing() as session:
        cancel_generation(session, claim.generation_id, "ann", now=NOW)


def _return_lapsed(house: House, claim: Claim) -> None:
    with house.database.writing() as session:
        return_lapsed(session, witness_since=None, now=later(3600))


def _give_up(house: House, claim: Claim) -> None:
    with house.database.writing() as session:
        session.execute(update(WorkItem).values(alone_crashes=CRASHES_ALONE))
        return_lapsed(session, witness_since=None, now=later(3600))


MOVES: dict[str, tuple[Move, dict[ItemStatus, ItemStatus]]] = {
    "claim": (_claim, {ItemStatus.QUEUED: ItemStatus.DRAWING}),
    "deliver": (_deliver, {ItemStatus.DRAWING: ItemStatus.COMPLETED}),
    "fail": (_fail, {ItemStatus.DRAWING: ItemStatus.FAILED}),
    "give back": (_give_back, {ItemStatus.DRAWING: ItemStatus.QUEUED}),
    "renew": (_renew, {}),
    "cancel": (_cancel, {ItemStatus.QUEUED: ItemStatus.CANCELLED, ItemStatus.DRAWING: ItemStatus.CANCELLED}),
    "return lapsed": (_return_lapsed, {ItemStatus.DRAWING: ItemStatus.QUEUED}),
    "give up": (_give_up, {ItemStatus.DRAWING: ItemStatus.FAILED}),
}


@pytest.mark.parametrize("status", list(ItemStatus))
@pytest.mark.parametrize("name", MOVES)
def test_a_move_leaves_every_state_but_its_own_alone(house: House, name: str, status: ItemStatus) -> None:
    move, moves = MOVES[name]
    house.customer(credits=30)
    house.order("ann", 1)
    claim = house.claim()[0]
    with house.database.writing() as session:
        if status is not ItemStatus.DRAWING:
            session.execute(update(WorkItem).values(status=status, lease_until=None, worker=None))
        if status not in OPEN_ITEM_STATUSES:
            session.execute(update(Generation).values({f"poses_{status}": 1}))

    move(house, claim)

    became = ItemStatus(house.item(claim.item_id).status)
    assert became == moves.get(status, status)
    assert became == status or became in ITEM_MOVES[status]


def test_every_allowed_move_is_made_by_something() -> None:
    made = {(before, after) for _, moves in MOVES.values() for before, after in moves.items()}

    assert made == {(before, after) for before, afters in ITEM_MOVES.items() for after in afters}


def test_every_state_stands_in_the_table_of_moves() -> None:
    assert set(ITEM_MOVES) == set(ItemStatus)


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_final_generation_stays_what_it_is_when_cancelled(house: House, status: str) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    with house.database.writing() as session:
        counts = {f"poses_{status}": 1, "completed_at": NOW}
        session.execute(update(Generation).values(status=status, **counts))

    with pytest.raises(Conflict), house.database.writing() as session:
        cancel_generation(session, generation_id, "ann", now=NOW)

    assert house.generation(generation_id).status == status
