"""The healing loop of an API process, through outages."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.house import House
from support.servers import PostgresServer
from support.serving import Served, serving, settings_for
from support.waiting import wait_until

from posegen import reconciler
from posegen.bell import Bell
from posegen.database import Database
from posegen.errors import DatabaseAway
from posegen.private_redis import PrivateRedis
from posegen.reconciler import Rings, Round

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def test_what_a_dead_worker_held_is_queued_again_and_rung_for(served: Served, house: House, redis_url: str) -> None:
    house.worker("living", heard=now())
    generation_id = house.order("ann", 2, now=now()).generation_id
    house.claim(2, now=now() - timedelta(seconds=60), lease_s=20)

    wait_until(lambda: {item.status for item in house.items(generation_id)} == {"queued"})

    bell = Bell(redis_url)
    wait_until(bell.waiting)
    bell.close()


def test_an_order_of_a_redis_outage_is_rung_for_when_redis_is_back(
    served: Served, house: House, redis_server: PrivateRedis
) -> None:
    house.worker(heard=now())
    redis_server.stop()
    house.order("ann", 2, now=now())
    redis_server.start()

    bell = Bell(redis_server.url)
    wait_until(bell.waiting)
    bell.close()


def test_the_loop_outlives_a_database_outage(
    postgres_url: str, postgres_server: PostgresServer, redis_url: str, tmp_path: Path
) -> None:
    database = Database(postgres_url)
    house = House(database)
    house.customer("ann")
    with serving(settings_for(postgres_url, tmp_path, redis_url=redis_url)):
        postgres_server.stop()
        postgres_server.start()
        generation_id = house.order("ann", 1, now=now()).generation_id
        house.claim(1, now=now() - timedelta(seconds=60))

        wait_until(lambda: house.items(generation_id)[0].status == "queued", timeout_s=20)
    database.close()


class Rounds:
    """Rounds that end as told, and the witness that each was given."""

    def __init__(self, *outcomes: Round | Exception) -> None:
        self.outcomes = list(outcomes)
        self.witnesses: list[datetime | None] = []

    def __call__(self, _announcer: Any, *, witness_since: datetime | None, rings: Rings) -> Round:
        self.witnesses.append(witness_since)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def witnesses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[datetime | None]]:
    """Runs a healer over rounds that end as told; returns the witness of each."""

    def run(*outcomes: Round | Exception) -> list[datetime | None]:
        rounds = Rounds(*outcomes)
        monkeypatch.setattr(reconciler, "reconcile_once", rounds)
        nobody: Any = None
        healer = reconciler.Healer(nobody, every_s=1)
        for _ in outcomes:
            healer.heal()
        return rounds.witnesses

    return run


def ended(minute: int) -> Round:
    return Round(requeued=0, failed=0, rung=0, ended_at=MOMENT + timedelta(minutes=minute))


def test_a_healer_is_a_witness_from_its_first_good_round_on(witnesses: Callable[..., list[datetime | None]]) -> None:
    assert witnesses(ended(1), ended(2), ended(3)) == [None, ended(1).ended_at, ended(1).ended_at]


def test_a_healer_is_a_witness_of_the_time_after_the_clock_was_set_back(
    witnesses: Callable[..., list[datetime | None]],
) -> None:
    assert witnesses(ended(5), ended(1), ended(2)) == [None, ended(5).ended_at, ended(1).ended_at]


@pytest.mark.parametrize("trouble", [DatabaseAway(), ValueError("unexpected")])
def test_after_any_trouble_a_healer_is_a_new_witness(
    witnesses: Callable[..., list[datetime | None]], trouble: Exception
) -> None:
    given = witnesses(ended(1), trouble, ended(5), ended(6))

    assert given == [None, ended(1).ended_at, None, ended(5).ended_at]
