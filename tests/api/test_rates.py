"""Rates: counted together in Redis, alone while it is away, by orders and by pictures, and told in headers."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from support.house import House
from support.serving import NOBODY_LISTENS, ROOT, Served, serving, settings_for

from api.errors import TooManyRequests
from api.rates import ADDRESS_SHARE, Rates, headers_of
from posegen.bell import REST_S, Bell
from posegen.private_redis import PrivateRedis

GENERATE = f"{ROOT}/generate"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Door:
    """One API process's rates."""

    def __init__(self, redis_url: str, tmp_path: Any, clock: Clock, **rates: str) -> None:
        self.bell = Bell(redis_url, clock=clock)
        self.rates = Rates(settings_for("sqlite://", tmp_path, redis_url=redis_url, **rates), self.bell)

    def takes(self, user_id: str = "ann", *, pictures: int = 1) -> bool:
        try:
            self.rates.count_order(user_id, pictures=pictures)
        except TooManyRequests:
            return False
        return True


@pytest.fixture
def doors(redis_url: str, tmp_path: Any, clock: Clock) -> Iterator[tuple[Door, Door]]:
    """Two processes with one Redis: three orders a minute."""
    pair = tuple(Door(redis_url, tmp_path, clock, generate_rate="3/minute") for _ in range(2))
    yield pair[0], pair[1]
    for door in pair:
        door.bell.close()


def alone(tmp_path: Any, **rates: str) -> Door:
    """A process whose Redis is away."""
    return Door(NOBODY_LISTENS, tmp_path, Clock(), **rates)


def test_processes_count_together(doors: tuple[Door, Door]) -> None:
    first, second = doors

    assert [first.takes(), second.takes(), first.takes(), second.takes(), first.takes()] == [True] * 3 + [False] * 2
    assert second.takes("bob")


def test_while_redis_is_away_each_process_counts_for_itself(
    doors: tuple[Door, Door], redis_server: PrivateRedis, clock: Clock
) -> None:
    first, second = doors
    assert first.takes()
    redis_server.kill()

    for door in doors:
        assert [door.takes() for _ in range(4)] == [True, True, True, False]

    redis_server.start()
    clock.now_s += REST_S
    assert [first.takes() for _ in range(3)] == [True, True, False]
    assert not second.takes()


def test_an_order_counts_with_its_pictures(tmp_path: Any) -> None:
    door = alone(tmp_path, generate_pictures_rate="100/minute")

    assert [door.takes(pictures=pictures) for pictures in (60, 60, 40, 1)] == [True, False, True, False]


def test_an_order_that_is_refused_for_its_pictures_does_not_count_as_an_order(tmp_path: Any) -> None:
    door = alone(tmp_path, generate_rate="2/minute", generate_pictures_rate="10/minute")

    assert [door.takes(pictures=pictures) for pictures in (9, 9, 9, 1, 1)] == [True, False, False, True, False]


def test_an_order_of_more_pictures_than_the_rate_needs_the_window_for_itself(tmp_path: Any) -> None:
    door = alone(tmp_path, generate_pictures_rate="10/minute")

    assert [door.takes(pictures=pictures) for pictures in (300, 1)] == [True, False]
    assert [door.takes("bob", pictures=pictures) for pictures in (1, 300)] == [True, False]


def test_the_headers_name_every_rate_and_what_is_left_of_it(tmp_path: Any) -> None:
    door = alone(tmp_path, generate_rate="5/minute", generate_pictures_rate="50/2minute")

    told = headers_of(door.rates.count_order("ann", pictures=12))

    assert told == {
        "RateLimit-Policy": '"orders";q=5;w=60, "pictures";q=50;w=120',
        "RateLimit": '"orders";r=4;t=60, "pictures";r=38;t=120',
    }


def test_guessing_over_many_accounts_of_one_address_ends(tmp_path: Any) -> None:
    rates = alone(tmp_path, login_rate="2/minute").rates
    for number in range(2 * ADDRESS_SHARE):
        rates.count_login("1.2.3.4", f"{number}@example.com")

    with pytest.raises(TooManyRequests):
        rates.count_login("1.2.3.4", "another@example.com")
    rates.count_login("5.6.7.8", "another@example.com")


def test_one_account_is_the_same_however_it_is_written(tmp_path: Any) -> None:
    rates = alone(tmp_path, login_rate="2/minute").rates
    rates.count_login("1.2.3.4", "ann@example.com")
    rates.count_login("1.2.3.4", " ANN@example.com")

    with pytest.raises(TooManyRequests):
        rates.count_login("1.2.3.4", "Ann@Example.com")


@pytest.fixture
def limited(sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Any) -> Iterator[Served]:
    """An API with Redis: two orders and ten pictures a minute."""
    settings = settings_for(
        sqlite_url, tmp_path, redis_url=redis_url, generate_rate="2/minute", generate_pictures_rate="10/minute"
    )
    with serving(settings) as served:
        yield served


def order(client: httpx2.Client, house: House, *, variations: int) -> httpx2.Response:
    body = {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:2],
        "batchSize": variations,
    }
    return client.post(GENERATE, json=body)


def test_an_order_tells_what_is_left_and_a_refusal_when_to_come_back(limited: Served, sqlite_house: House) -> None:
    ann = limited.client("ann")

    taken, refused = (order(ann, sqlite_house, variations=3) for _ in range(2))

    assert taken.status_code == 202
    assert taken.headers["ratelimit-policy"] == '"orders";q=2;w=60, "pictures";q=10;w=60'
    assert taken.headers["ratelimit"].startswith('"orders";r=1;t=')
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["ratelimit"].startswith('"orders";r=1;t=')
    assert '"pictures";r=4;t=' in refused.headers["ratelimit"]
    assert 0 < refused.json()["retryAfter"] == int(refused.headers["retry-after"]) <= 60
    assert sqlite_house.balance("ann") == 820


def test_a_page_of_another_origin_may_read_the_rates(limited: Served, sqlite_house: House) -> None:
    ann = limited.client("ann", Origin="http://localhost:5173")

    exposed = order(ann, sqlite_house, variations=1).headers["access-control-expose-headers"]

    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed.split(", "))


def test_a_restart_forgets_no_order_while_redis_lives(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Any
) -> None:
    settings = settings_for(sqlite_url, tmp_path, redis_url=redis_url, generate_rate="1/minute")
    statuses = []
    for _ in range(2):
        with serving(settings) as served:
            statuses.append(order(served.client("ann"), sqlite_house, variations=1).status_code)

    assert statuses == [202, 429]
