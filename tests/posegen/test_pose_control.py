"""No order is drawn without its poses unless it allows that: refused at the door, passed by in the queue."""

from datetime import timedelta

import pytest
from support.house import NOW, House, all_at_once, later

from posegen.errors import PosesNotFollowed
from posegen.finishing import fail_picture
from posegen.leases import Claim, has_queued
from posegen.orders import Order
from posegen.pose_control import undrawable
from posegen.quotes import quote_order
from posegen.retrying import retry_generation
from posegen.statuses import ItemStatus, WorkerStatus
from posegen.workforce import live_workers

WITHOUT = {"followsPoses": False}
SEEN = NOW - timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _ann(request: pytest.FixtureRequest) -> None:
    """A customer in whichever house the test lives in."""
    for name in ("house", "sqlite_house"):
        if name in request.fixturenames:
            request.getfixturevalue(name).customer("ann")


def test_an_order_is_refused_and_not_charged_while_nothing_here_follows_poses(house: House) -> None:
    house.worker("w1", heard=SEEN, capabilities=WITHOUT)
    before = house.balance("ann")

    with pytest.raises(PosesNotFollowed):
        house.order("ann", 2)

    assert (house.balance("ann"), len(house.items())) == (before, 0)


def test_an_order_that_allows_it_is_taken(house: House) -> None:
    house.worker("w1", heard=SEEN, capabilities=WITHOUT)

    assert house.order("ann", 2, allow_poseless=True).total_pictures == 2


def test_an_order_whose_pose_has_no_say_is_taken(sqlite_house: House) -> None:
    sqlite_house.worker("w1", heard=SEEN, capabilities=WITHOUT)

    assert sqlite_house.order("ann", 2, control_scale=0.0).total_pictures == 2


@pytest.mark.parametrize(
    ("others", "is_taken"),
    [
        ([], False),
        ([{"status": WorkerStatus.READY}], True),
        ([{"status": WorkerStatus.STARTING}], False),
        ([{"profile": "flux1-dev"}], False),
        ([{"heard": NOW - timedelta(minutes=5)}], False),
        ([{"status": WorkerStatus.DRAINING}], False),
    ],
    ids=["alone", "ready", "starting", "another-profile", "silent", "leaving"],
)
def test_one_live_worker_that_follows_poses_is_enough(
    sqlite_house: House, others: list[dict[str, object]], is_taken: bool
) -> None:
    sqlite_house.worker("w1", heard=SEEN, capabilities=WITHOUT)
    for number, other in enumerate(others):
        told = {"heard": SEEN, "capabilities": {"followsPoses": True}, **other}
        sqlite_house.worker(f"other {number}", **told)  # type: ignore[arg-type]

    if is_taken:
        sqlite_house.order("ann", 2)
    else:
        with pytest.raises(PosesNotFollowed):
            sqlite_house.order("ann", 2)


def test_while_no_worker_is_alive_the_last_one_decides(sqlite_house: House) -> None:
    sqlite_house.order("ann", 1)  # nobody ever reported: it waits for whoever comes

    sqlite_house.worker("posing", heard=NOW - timedelta(hours=2))
    sqlite_house.worker("poseless", heard=NOW - timedelta(hours=1), capabilities=WITHOUT)
    with pytest.raises(PosesNotFollowed):
        sqlite_house.order("ann", 1)

    sqlite_house.worker("posing again", heard=NOW - timedelta(minutes=30))
    sqlite_house.order("ann", 1)


def test_a_quote_is_refused_alike(sqlite_house: House) -> None:
    sqlite_house.worker("w1", heard=SEEN, capabilities=WITHOUT)
    project_id = sqlite_house.project("ann")
    order = Order(project_id=project_id, pose_ids=tuple(sqlite_house.pose_ids[:1]), variations=1)

    with sqlite_house.database.reading() as session, pytest.raises(PosesNotFollowed):
        quote_order(session, "ann", order, profile_name="tiny", now=NOW)


def test_a_retry_is_refused_alike_and_goes_when_its_order_allowed_it(sqlite_house: House) -> None:
    placed = [sqlite_house.order("ann", 1, allow_poseless=allowed) for allowed in (False, True)]
    for claim in sqlite_house.claim():
        assert sqlite_house.fail(claim)
    sqlite_house.worker("w1", heard=SEEN, capabilities=WITHOUT)

    with sqlite_house.database.writing() as session:
        with pytest.raises(PosesNotFollowed):
            retry_generation(session, "ann", placed[0].generation_id, profile_name="tiny", now=NOW)
        again = retry_generation(session, "ann", placed[1].generation_id, profile_name="tiny", now=NOW)

    assert again.total_pictures == 1


def test_a_worker_without_poses_claims_only_what_may_be_drawn_so(house: House) -> None:
    house.customer("bob")
    house.order("ann", 6)
    allowed = house.order("bob", 2, allow_poseless=True)
    faceless = house.order("ann", 1, control_scale=0.0, now=later(1))

    claims = house.claim(20, follows_poses=False)

    assert {claim.generation_id for claim in claims} == {allowed.generation_id, faceless.generation_id}
    assert all(claim.allow_poseless for claim in claims)
    assert house.claim(20, follows_poses=False) == []
    assert len(house.claim(20)) == 6


def test_a_worker_that_follows_poses_claims_everything_and_is_allowed_nothing(house: House) -> None:
    house.order("ann", 2, allow_poseless=True)

    claims = house.claim(20)

    assert [claim.allow_poseless for claim in claims] == [False, False]


def test_racing_claimers_of_both_kinds_never_give_a_pose_to_the_one_that_cannot(house: House) -> None:
    house.customer("bob")
    house.order("ann", 12)
    allowed = house.order("bob", 12, allow_poseless=True).generation_id

    def claim(number: int) -> list[Claim]:
        taken: list[Claim] = []
        for _ in range(3):
            taken += house.claim(3, worker=f"w{number}", follows_poses=bool(number % 2))
        return taken

    took = all_at_once([lambda number=number: claim(number) for number in range(6)])  # type: ignore[misc]

    for number, claims in enumerate(took):
        assert isinstance(claims, list), claims
        assert number % 2 or {one.generation_id for one in claims} <= {allowed}
    everything = [one.item_id for claims in took if isinstance(claims, list) for one in claims]
    assert len(everything) == len(set(everything))


def test_what_waits_is_told_apart_for_whoever_follows_no_pose(house: House) -> None:
    house.order("ann", 3)
    house.worker("w1", heard=SEEN, capabilities=WITHOUT)
    with house.database.reading() as session:
        assert has_queued(session, "tiny")
        assert not has_queued(session, "tiny", follows_poses=False)
        assert undrawable(session, live_workers(session, now=NOW)) == {"tiny": 3}

    house.order("ann", 2, allow_poseless=True)
    with house.database.reading() as session:
        assert has_queued(session, "tiny", follows_poses=False)
        assert undrawable(session, live_workers(session, now=NOW)) == {"tiny": 3}
        assert undrawable(session, ()) == {"tiny": 5}

    house.worker("w2", heard=SEEN)
    with house.database.reading() as session:
        assert undrawable(session, live_workers(session, now=NOW)) == {}


def test_a_picture_that_failed_for_want_of_poses_costs_nothing(sqlite_house: House) -> None:
    before = sqlite_house.balance("ann")
    sqlite_house.order("ann", 1)
    (claim,) = sqlite_house.claim()

    with sqlite_house.database.writing() as session:
        assert fail_picture(session, claim, code="pose_refused", message="No poses here.", now=NOW)

    assert sqlite_house.balance("ann") == before
    assert sqlite_house.item(claim.item_id).status == ItemStatus.FAILED
    sqlite_house.assert_books_balance()
