"""The parts of scripts/chaos.py that judge: they must see what they are there to see."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_crashes import CROSSINGS, crossings_of
from chaos_plan import Fault, Plan, mixed, named
from chaos_recorder import Move, changes, install, moves
from chaos_timing import after_death, percentile
from chaos_watch import FileWatch, RingWatch
from sqlalchemy import delete, update
from support.house import NOW, House, later

from posegen.crash_points import POINTS, Act, Moment
from posegen.database import Database
from posegen.leases import give_back
from posegen.tables import GeneratedPicture, UserEvent


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    database = Database(database_url)
    house = House(database)
    install(database)
    yield house
    database.close()


def test_one_seed_is_one_list_of_faults() -> None:
    plans = [Plan(seed=seed, faults=mixed(20, "postgres")).schedule() for seed in (1, 1, 2)]

    assert plans[0] == plans[1] != plans[2]
    assert sorted(plans[0]) == sorted(plans[2])


def test_the_usual_mix_has_every_fault_that_the_database_can_have() -> None:
    assert set(mixed(3, "postgres")) == set(Fault)
    assert set(Fault) - set(mixed(3, "sqlite")) == {Fault.DATABASE_KILL}


def test_a_process_dies_at_every_crash_point_there_is() -> None:
    assert {point for _role, point in CROSSINGS} == set(POINTS)


def test_crash_points_can_be_those_of_a_few_acts() -> None:
    assert crossings_of("") == CROSSINGS
    few = crossings_of("commit.cancel, file.put")
    assert {point for _role, point in few} == {
        f"{moment}:{act}" for moment in Moment for act in (Act.COMMIT_CANCEL, Act.FILE_PUT)
    }
    with pytest.raises(ValueError, match=r"commit\.nothing"):
        crossings_of("commit.nothing")


def test_faults_are_named_with_their_numbers() -> None:
    assert named("redis-kill=50, redis-flush", 5) == {Fault.REDIS_KILL: 50, Fault.REDIS_FLUSH: 5}
    with pytest.raises(ValueError, match="earthquake"):
        named("earthquake=1", 5)


def test_the_recorder_keeps_every_move_with_attempt_and_worker(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    (first,) = house.claim(worker="w1")
    with house.database.writing() as session:
        give_back(session, first.item_id, first.attempt, now=NOW)
    (second,) = house.claim(worker="w2", now=later(1))
    assert house.deliver(second)

    with house.database.reading() as session:
        seen = [(move.from_status, move.to_status, move.to_attempt, move.to_worker) for move in moves(session)]
        assert changes(session) == []
    assert seen == [
        ("queued", "drawing", 1, "w1"),
        ("drawing", "queued", 1, None),
        ("queued", "drawing", 2, "w2"),
        ("drawing", "completed", 2, "w2"),
    ]


def test_the_recorder_sees_a_delivered_picture_change_and_a_told_event_go(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    (claim,) = house.claim()
    house.deliver(claim)

    with house.database.writing() as session:
        session.execute(update(GeneratedPicture).values(output_key="generations/another.png"))
        session.execute(delete(UserEvent).where(UserEvent.event_id == 1))

    with house.database.reading() as session:
        seen = [change.split()[0] for change in changes(session)]
    assert seen == ["generated_pictures", "events"]


def move(at: float, to_status: str, worker: str | None, *, item: str = "a") -> Move:
    return Move(at, item, "?", to_status, 1, 1, None, worker)


def test_a_takeover_lasts_from_the_death_until_another_holds_the_picture() -> None:
    seen = [
        move(1, "drawing", "host-7-x", item="a"),
        move(1, "drawing", "host-7-x", item="b"),
        move(2, "completed", "host-7-x", item="b"),
        move(30, "queued", None, item="a"),
        move(32, "drawing", "host-8-y", item="a"),
    ]

    after = after_death(seen, "host-7-", 10.0)
    assert (after.returned, after.taken) == ([20.0], [22.0])


def test_a_picture_that_was_given_back_or_cancelled_is_no_takeover() -> None:
    seen = [
        move(1, "drawing", "host-7-x", item="a"),
        move(2, "queued", None, item="a"),
        move(3, "drawing", "host-8-y", item="a"),
        move(4, "drawing", "host-7-x", item="b"),
        move(12, "cancelled", "host-7-x", item="b"),
    ]

    assert after_death(seen, "host-7-", 10.0).taken == []


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    random.Random(1).shuffle(values)

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (51.0, 100.0, None)


def rings(*seen: tuple[float, int, int]) -> RingWatch:
    watch = RingWatch.__new__(RingWatch)
    watch.seen = list(seen)
    return watch


def test_a_ring_after_a_flush_is_one_more_push_or_one_that_waits() -> None:
    assert rings((1, 5, 0), (2, 5, 0), (3, 5, 0), (4, 6, 0)).rung_after(1.5, 1.5) == 2.5
    assert rings((1, 5, 0), (2, 5, 3)).rung_after(1.5, 1.5) == 0.5
    assert rings((1, 5, 0), (2, 5, 0)).rung_after(1.5, 1.5) is None


def test_a_redis_that_was_started_again_counts_pushes_from_nothing() -> None:
    assert rings((1, 5, 0), (4, 0, 0), (5, 1, 0)).rung_after(2, 3) == 2


class Ground:
    """What a FileWatch needs of the ground."""

    def __init__(self, database: Database, storage_dir: Path) -> None:
        self.database = database
        self.storage_dir = storage_dir


def test_files_that_change_or_go_after_they_were_seen_are_named(house: House, tmp_path: Path) -> None:
    house.customer()
    house.order("ann", 2)
    claims = house.claim()
    for claim in claims:
        house.deliver(claim)
    keys = [f"pictures/{claim.item_id}-{claim.attempt}{end}" for claim in claims for end in (".png", ".webp")]
    for key in keys:
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    files = FileWatch(Ground(house.database, tmp_path))  # type: ignore[arg-type]
    files.look()
    assert files.check() == ([], [])

    (tmp_path / keys[0]).write_bytes(b"another picture")
    (tmp_path / keys[1]).unlink()

    assert files.check() == ([keys[1]], [keys[0]])
