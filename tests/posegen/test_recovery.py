"""What happens to the pictures of a worker that died, and to pictures that make workers die."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from support.house import NOW, House, all_at_once, later

from posegen.database import database_now
from posegen.errors import NoProfileKnown
from posegen.finishing import locked_generation
from posegen.leases import Claim, acquit, renew_leases
from posegen.recovery import CRASHES_ALONE, SILENT_FOR, WITNESS_FIRST, Recovered, prune, return_lapsed, return_lost
from posegen.statuses import WorkerStatus
from posegen.tables import UserEvent, WorkerRow
from posegen.workforce import ALIVE_FOR, live_workers, service_profile

LAPSED = later(21)
LONG_AGO = later(-1000)


def recover(house: House, *, witness_since: datetime | None = LONG_AGO, now: datetime = LAPSED) -> Recovered:
    with house.database.writing() as session:
        return return_lapsed(session, witness_since=witness_since, now=now)


def crash(house: House, *, at_s: float, rows: int = 4) -> list[Claim]:
    """A worker reports, claims, dies; 21 s later a witness returns what it held."""
    worker = f"w{at_s:g}"
    house.worker(worker, heard=later(at_s))
    claims = house.claim(rows, worker=worker, now=later(at_s))
    recover(house, now=later(at_s + 21))
    return claims


def test_a_lapsed_picture_goes_back_to_the_queue_and_is_drawn_once(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 2).generation_id
    ghosts = house.claim(worker="ghost")

    assert recover(house) == Recovered(requeued=2, failed=0)

    again = house.claim(worker="w2", now=LAPSED)
    assert [house.deliver(claim) for claim in [*again, *ghosts]] == [True, True, False, False]
    assert house.generation(generation_id).status == "completed"
    house.assert_books_balance()


def test_a_lease_that_still_runs_is_left_alone(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    house.claim()

    assert recover(house, now=later(20)) == Recovered(requeued=0, failed=0)


def test_a_lease_that_is_renewed_while_a_round_looks_is_left_alone(postgres_house: House) -> None:
    """What a round has read of a lease is old when it has locked the picture."""
    house = postgres_house
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]

    with house.database.writing() as session:

        def renew(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if "lease_until <" in statement:
                with house.database.writing() as other:
                    assert renew_leases(other, [(claim.item_id, claim.attempt)], lease_s=20, now=LAPSED)

        event.listen(session.connection(), "after_cursor_execute", renew)
        done = return_lapsed(session, witness_since=None, now=LAPSED)

    assert done == Recovered(requeued=0, failed=0)
    assert house.item(claim.item_id).lease_until == LAPSED + timedelta(seconds=20)


def test_two_who_recover_at_once_do_the_work_once(house: House) -> None:
    house.customer()
    house.order("ann", 24)
    house.worker(heard=NOW)
    house.claim(24)

    rounds = all_at_once([lambda: recover(house)] * 4)

    assert sum(done.requeued for done in rounds if isinstance(done, Recovered)) == 24, rounds
    assert {(item.status, item.crashes) for item in house.items()} == {("queued", 1)}


def test_a_lapse_whose_worker_died_counts_as_a_crash(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    claim = crash(house, at_s=0)[0]

    item = house.item(claim.item_id)
    assert (item.status, item.crashes, item.alone_crashes) == ("queued", 1, 0)


def test_a_lapse_whose_worker_lives_is_no_crash(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]
    house.worker(heard=later(20.5))

    assert recover(house).requeued == 1

    assert house.item(claim.item_id).crashes == 0


def returned_after_s(house: House, claim: Claim, *, witness_since: datetime | None = LONG_AGO) -> float:
    """Run a round every half second until the picture is queued again; return how many seconds that took."""
    for rounds in range(80):
        recover(house, witness_since=witness_since, now=later(rounds / 2))
        if house.item(claim.item_id).status == "queued":
            return rounds / 2
    raise AssertionError("it was never returned")


@pytest.mark.parametrize("lease_s", [3, 5, 8, 12, 20, 60])
def test_a_crash_is_counted_however_short_the_lease_and_seen_soon(house: House, lease_s: int) -> None:
    """Heartbeats come every few seconds: with a short lease the worker's silence says nothing yet when it lapses."""
    house.customer()
    house.order("ann", 1)
    house.worker(heard=NOW)
    claim = house.claim(lease_s=lease_s)[0]

    if lease_s < 40:
        assert returned_after_s(house, claim) <= max(lease_s, SILENT_FOR.total_seconds()) + 0.5
    else:
        recover(house, now=later(lease_s + 0.5))

    assert house.item(claim.item_id).crashes == 1


def test_without_a_witness_a_short_lease_is_returned_all_the_same(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    house.worker(heard=NOW)
    claim = house.claim(lease_s=3)[0]

    assert returned_after_s(house, claim, witness_since=None) <= (SILENT_FOR + WITNESS_FIRST).total_seconds() + 0.5

    assert house.item(claim.item_id).crashes == 0


def test_a_worker_that_speaks_again_in_time_did_not_crash(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    house.worker(heard=NOW)
    claim = house.claim(lease_s=3)[0]
    assert recover(house, now=later(4)).requeued == 0

    house.worker(heard=later(4))
    assert recover(house, now=later(4.5)).requeued == 1

    assert house.item(claim.item_id).crashes == 0


@pytest.mark.parametrize("status", [WorkerStatus.DRAINING, WorkerStatus.STOPPED])
def test_a_worker_that_said_it_leaves_did_not_crash(house: House, status: WorkerStatus) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]
    house.worker(heard=NOW, status=status)

    recover(house)

    assert house.item(claim.item_id).crashes == 0


@pytest.mark.parametrize("witness_since", [None, later(10)])
def test_who_was_not_there_when_the_worker_fell_silent_cannot_call_it_a_crash(
    house: House, witness_since: datetime | None
) -> None:
    house.customer()
    house.order("ann", 1)
    house.worker(heard=NOW)
    claim = house.claim()[0]

    assert recover(house, witness_since=witness_since, now=later(30)).requeued == 1

    assert house.item(claim.item_id).crashes == 0


def test_what_looks_like_a_crash_is_left_to_a_witness_for_some_seconds(house: House) -> None:
    """Or a worker that was started again would wash clean, each time, what killed it."""
    house.customer()
    house.order("ann", 1)
    house.worker(heard=NOW)
    claim = house.claim()[0]

    assert recover(house, witness_since=None, now=later(22)).requeued == 0
    assert recover(house, witness_since=LONG_AGO, now=later(23)).requeued == 1

    assert house.item(claim.item_id).crashes == 1


def test_what_a_worker_held_whose_process_is_gone_comes_back_at_once_and_it_was_a_crash(house: House) -> None:
    """Neither the lease nor the silence has to run out, and no witness is needed."""
    house.customer()
    house.order("ann", 2)
    house.worker("w1", process="here:1")
    house.worker("w2", process="here:2")
    died, lives = (house.claim(1, worker=worker)[0] for worker in ("w1", "w2"))
    house.worker_dies("here:1", now=later(1))

    assert recover(house, witness_since=None, now=later(1)) == Recovered(requeued=1, failed=0)

    assert (house.item(died.item_id).status, house.item(died.item_id).crashes) == ("queued", 1)
    assert (house.item(lives.item_id).status, house.item(lives.item_id).crashes) == ("drawing", 0)
    assert not house.deliver(died)
    with house.database.reading() as session:
        assert [row.name for row in live_workers(session, now=later(1))] == ["w2"]


def test_the_death_of_a_worker_that_was_leaving_is_no_crash(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    claim = house.claim()[0]
    house.worker(status=WorkerStatus.DRAINING, process="here:1")
    house.worker_dies("here:1")

    assert recover(house, now=later(1)).requeued == 1

    assert house.item(claim.item_id).crashes == 0


def test_a_picture_that_left_the_engine_is_not_blamed_for_what_comes_then(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    crash(house, at_s=0)
    ghost = house.claim(1, worker="w2", now=later(22))[0]
    recover(house, now=later(43))
    house.worker("w3", process="here:3", heard=later(44))
    claim = house.claim(1, worker="w3", now=later(44))[0]
    assert claim.alone

    with house.database.writing() as session:
        acquit(session, ghost.item_id, ghost.attempt)
    assert house.item(claim.item_id).drawn_alone, "only who holds it can tell"
    with house.database.writing() as session:
        acquit(session, claim.item_id, claim.attempt)
    house.worker_dies("here:3", now=later(45))
    recover(house, now=later(45))

    item = house.item(claim.item_id)
    assert (item.status, item.crashes, item.alone_crashes) == ("queued", 2, 0)


def test_a_suspect_is_drawn_alone(house: House) -> None:
    house.customer()
    house.order("ann", 2)
    crash(house, at_s=0)

    claims = house.claim(4, now=later(22))

    assert [claim.alone for claim in claims] == [True]


def test_a_suspect_that_was_given_back_stays_a_suspect(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    crash(house, at_s=0)
    house.claim(4, now=later(22), lease_s=20)

    recover(house, now=later(43))

    assert house.claim(4, now=later(44))[0].alone


def test_an_innocent_neighbour_of_a_crash_is_never_given_up(house: House) -> None:
    house.customer()
    house.order("ann", 3)
    for number in range(6):
        claims = house.claim(3, worker=f"w{number}", now=later(100 * number))
        house.worker(f"w{number}", heard=later(100 * number))
        assert claims
        with house.database.writing() as session:
            for item in house.items():
                row = session.merge(item)
                row.drawn_alone = False
        recover(house, now=later(100 * number + 21))

    assert {item.status for item in house.items()} == {"queued"}


def test_a_picture_that_kills_three_workers_alone_is_given_up_and_refunded(house: House) -> None:
    house.customer(credits=30)
    generation_id = house.order("ann", 1).generation_id

    for number in range(CRASHES_ALONE):
        crash(house, at_s=100 * number)
        assert house.generation(generation_id).status == "processing"
    crash(house, at_s=1000)

    generation = house.generation(generation_id)
    assert (generation.status, generation.poses_failed) == ("failed", 1)
    assert house.balance("ann") == 30
    assert house.items()[0].error_code == "crashed_worker"
    assert [event.type for event in house.events("ann")] == ["pose_completed", "progress", "failed"]
    house.assert_books_balance()


def lose(house: House, claims: list[Claim], *, crash: bool = True) -> Recovered:
    """A worker returns what was in its engine when that failed; all of one generation."""
    with house.database.writing() as session:
        held = {claim.item_id: claim.attempt for claim in claims}
        return return_lost(session, claims[0].generation_id, held, crash=crash, now=NOW)


def test_what_a_worker_returns_after_its_engine_failed_is_queued_at_once_and_it_was_a_crash(house: House) -> None:
    house.customer()
    house.order("ann", 2)

    assert lose(house, house.claim()) == Recovered(requeued=2, failed=0)

    assert {(item.status, item.crashes, item.alone_crashes, item.worker) for item in house.items()} == {
        ("queued", 1, 0, None)
    }


def test_pictures_are_not_blamed_for_a_card_that_failed_by_itself(house: House) -> None:
    house.customer()
    house.order("ann", 1)

    for _ in range(2 * CRASHES_ALONE):
        assert lose(house, house.claim(), crash=False) == Recovered(requeued=1, failed=0)

    (item,) = house.items()
    assert (item.status, item.crashes) == ("queued", 0)


def test_a_picture_that_breaks_three_engines_alone_is_given_up_refunded_and_its_neighbour_is_not(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 2).generation_id
    lose(house, house.claim())

    given_up = []
    while claims := house.claim():
        (claim,) = claims
        if claim.variation_key.endswith("v0"):
            given_up.append(lose(house, claims).failed)
        else:
            house.deliver(claim)

    assert given_up == [0] * (CRASHES_ALONE - 1) + [1]
    outcomes = {item.variation_key[-2:]: (item.status, item.error_code, item.alone_crashes) for item in house.items()}
    assert outcomes == {"v0": ("failed", "crashed_worker", CRASHES_ALONE), "v1": ("completed", None, 0)}
    assert house.generation(generation_id).credit_refunded == 30
    house.assert_books_balance()


def test_what_was_taken_from_a_worker_is_not_returned_by_it(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    ghost = house.claim(lease_s=1)
    recover(house, now=later(1.5))
    house.claim(worker="w2", now=later(2))

    assert lose(house, ghost) == Recovered(requeued=0, failed=0)
    assert {(item.status, item.worker) for item in house.items()} == {("drawing", "w2")}


def test_a_round_ends_with_the_first_picture_it_gives_up(house: House) -> None:
    """Its refund locks a user, the last lock of a transaction; the next round goes on."""
    for user_id in ("ann", "bob"):
        house.customer(user_id)
        house.order(user_id, 1)
    house.worker(heard=NOW)
    house.claim(4)
    with house.database.writing() as session:
        for item in house.items():
            row = session.merge(item)
            row.drawn_alone, row.alone_crashes = True, CRASHES_ALONE - 1

    assert recover(house) == Recovered(requeued=0, failed=1)
    assert recover(house) == Recovered(requeued=0, failed=1)
    assert recover(house) == Recovered(requeued=0, failed=0)
    house.assert_books_balance()


def test_recovery_waits_for_nobody(postgres_house: House) -> None:
    house = postgres_house
    house.customer("ann")
    house.customer("bob")
    held = house.order("ann", 1).generation_id
    house.order("bob", 1)
    house.claim(4)

    with house.database.writing() as other:
        locked_generation(other, held)
        assert recover(house).requeued == 1

    assert recover(house).requeued == 1


def test_old_events_and_workers_are_forgotten_but_the_last_worker(house: House) -> None:
    house.customer()
    house.order("ann", 1)
    house.deliver(house.claim()[0])
    for name, heard in (("oldest", later(-200)), ("newest", later(-100))):
        house.worker(name, heard=heard)

    with house.database.writing() as session:
        prune(session, now=later(24 * 3600))
    assert house.count(UserEvent) > 0

    with house.database.writing() as session:
        prune(session, now=later(24 * 3600 + 1))
    assert house.count(UserEvent) == 0
    with house.database.reading() as session:
        assert [row.name for row in session.query(WorkerRow)] == ["newest"]


def test_a_worker_is_alive_while_its_heartbeat_is_fresh(house: House) -> None:
    house.worker("w1", heard=NOW)

    with house.database.reading() as session:
        assert [row.name for row in live_workers(session, now=NOW + ALIVE_FOR)] == ["w1"]
        just_dead = later(ALIVE_FOR.total_seconds() + 0.001)
        assert list(live_workers(session, now=just_dead)) == []


@pytest.mark.parametrize("status", [WorkerStatus.DRAINING, WorkerStatus.STOPPED])
def test_a_worker_that_leaves_is_not_counted_on(house: House, status: WorkerStatus) -> None:
    house.worker(status=status)

    with house.database.reading() as session:
        assert list(live_workers(session, now=NOW)) == []


def test_a_worker_has_one_row_however_often_it_reports(house: House) -> None:
    house.worker("w1", heard=NOW)
    house.worker("w1", heard=later(3), pictures_per_s=0.5)

    with house.database.reading() as session:
        row = session.query(WorkerRow).one()
    assert (row.started_at, row.heartbeat_at, row.pictures_per_s) == (NOW, later(3), 0.5)


def test_the_configured_profile_wins(house: House) -> None:
    house.worker(profile="tiny")

    with house.database.reading() as session:
        assert service_profile(session, "flux1-dev") == "flux1-dev"


def test_without_a_configured_profile_it_is_what_the_last_worker_drew(house: House) -> None:
    house.worker("w1", profile="tiny", heard=later(-500))
    house.worker("w2", profile="flux1-dev", heard=later(-400))

    with house.database.reading() as session:
        assert service_profile(session, "") == "flux1-dev"


def test_of_two_profiles_the_one_of_most_live_workers_is_the_services(house: House) -> None:
    with house.database.reading() as session:
        now = database_now(session)
    house.worker("w1", profile="flux1-dev", heard=now)
    house.worker("w2", profile="flux1-dev", heard=now)
    house.worker("w3", profile="tiny", heard=now)

    with house.database.reading() as session:
        assert service_profile(session, "") == "flux1-dev"


def test_before_any_worker_reported_no_profile_is_known(house: House) -> None:
    with house.database.reading() as session, pytest.raises(NoProfileKnown):
        service_profile(session, "")


def test_a_worker_that_is_still_choosing_its_profile_hides_no_other(house: House) -> None:
    now = datetime.now(UTC)
    house.worker("ready", heard=now, profile="tiny")
    house.worker("loading", heard=now, profile="", status=WorkerStatus.STARTING)
    house.worker("loading-too", heard=now, profile="", status=WorkerStatus.STARTING)

    with house.database.reading() as session:
        assert service_profile(session, "") == "tiny"


def test_ready_workers_decide_before_starting_ones(house: House) -> None:
    now = datetime.now(UTC)
    house.worker("ready", heard=now, profile="tiny")
    for name in ("one", "two"):
        house.worker(name, heard=now, profile="flux1-dev", status=WorkerStatus.STARTING)

    with house.database.reading() as session:
        assert service_profile(session, "") == "tiny"


def test_only_workers_without_a_profile_are_no_profile(house: House) -> None:
    house.worker("loading", heard=datetime.now(UTC), profile="", status=WorkerStatus.STARTING)

    with house.database.reading() as session, pytest.raises(NoProfileKnown):
        service_profile(session, "")
