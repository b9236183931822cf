"""Live updates: who gets in, and that each user hears every event of theirs once, in order, whatever breaks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import socketio
import websocket
from sqlalchemy import delete, update
from support.house import House, drawn
from support.listening import UPDATE, Listener, listening
from support.serving import ROOT, SECRET, Served, serving, settings_for
from support.waiting import wait_until

from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.finishing import deliver_picture
from posegen.leases import Claim
from posegen.private_redis import PrivateRedis
from posegen.storage import Links, Storage
from posegen.tables import User, UserEvent


def now() -> datetime:
    return datetime.now(UTC)


class Worker:
    """What a worker does after drawing: deliver in one transaction, then publish."""

    def __init__(self, house: House, redis_url: str) -> None:
        self.house = house
        self.bell = Bell(redis_url)
        self.announcer = Announcer(house.database, self.bell, Links(SECRET, life_s=60))

    def claim(self, rows: int) -> list[Claim]:
        return self.house.claim(rows, now=now())

    def deliver(self, claim: Claim) -> None:
        with self.announcer.writing() as session:
            assert deliver_picture(session, claim, drawn(claim), now=now())


@pytest.fixture
def worker(house: House, redis_url: str) -> Iterator[Worker]:
    made = Worker(house, redis_url)
    yield made
    made.bell.close()


def order(house: House, user_id: str = "ann", pictures: int = 4) -> str:
    return house.order(user_id, pictures, now=now()).generation_id


def test_a_client_is_welcomed_by_name(sqlite_served: Served) -> None:
    with listening(sqlite_served.url, {"token": sqlite_served.token("ann")}) as ann:
        welcome = ann.wait_for("connected")

    assert welcome["userId"] == "ann"
    assert isinstance(welcome["message"], str)


def test_the_welcome_tells_where_a_new_client_begins(sqlite_served: Served, sqlite_house: House) -> None:
    events = len(sqlite_house.events("ann"))
    order(sqlite_house, pictures=1)
    sqlite_house.deliver(sqlite_house.claim(1, now=now())[0], now=now())

    with listening(sqlite_served.url, {"token": sqlite_served.token("ann")}) as new:
        assert new.wait_for("connected")["eventId"] == events + 4
    with listening(sqlite_served.url, {"token": sqlite_served.token("ann"), "lastEventId": events + 1}) as back:
        assert back.wait_for("connected")["eventId"] == events + 1
        assert [update["eventId"] for update in back.wait_for_updates(3)] == [events + 2, events + 3, events + 4]


@pytest.mark.parametrize("path", ["socket.io", "pose-generator-ws"])
def test_both_paths_lead_to_the_same_server(served: Served, house: House, worker: Worker, path: str) -> None:
    with listening(served.url, {"token": served.token("ann")}, path=path) as ann:
        ann.wait_for("connected")
        order(house, pictures=1)
        worker.deliver(worker.claim(1)[0])

        assert [update["type"] for update in ann.wait_for_updates(4)] == [
            "started",
            "pose_completed",
            "progress",
            "completed",
        ]


def expired() -> str:
    return jwt.encode({"userId": "ann", "exp": now() - timedelta(seconds=1)}, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "auth",
    [None, {}, {"token": ""}, {"token": 7}, {"token": "nonsense"}, {"token": expired()}, "text"],
    ids=["nothing", "no-token", "empty", "number", "nonsense", "expired", "text"],
)
def test_a_bad_login_is_refused_with_a_sentence(sqlite_served: Served, auth: Any) -> None:
    listener = Listener(sqlite_served.url)

    with pytest.raises(socketio.exceptions.ConnectionError):
        listener.connect(auth)
    listener.close()

    assert "log in" in listener.refusals[0]["message"]
    assert listener.heard == []


def test_a_token_in_the_address_is_no_login(sqlite_served: Served) -> None:
    listener = Listener(f"{sqlite_served.url}?token={sqlite_served.token('ann')}")

    with pytest.raises(socketio.exceptions.ConnectionError):
        listener.connect({})
    listener.close()


@pytest.mark.parametrize("path", ["socket.io", "pose-generator-ws"])
def test_a_page_of_another_origin_gets_no_socket(sqlite_served: Served, path: str) -> None:
    client, address = sqlite_served.client(), f"/{path}/?EIO=4&transport="

    answers = {
        origin: client.get(f"{address}polling", headers={"Origin": origin})
        for origin in ("http://localhost:5173", sqlite_served.url, "https://evil.example")
    }
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(
            f"{sqlite_served.url.replace('http', 'ws')}{address}websocket", origin="https://evil.example"
        )

    assert [answer.status_code for answer in answers.values()] == [200, 200, 400]
    allowed = answers["http://localhost:5173"].headers["access-control-allow-origin"]
    assert allowed == "http://localhost:5173"


def test_a_ping_is_answered(sqlite_served: Served) -> None:
    with listening(sqlite_served.url, {"token": sqlite_served.token("ann")}) as ann:
        ann.ping()

        assert ann.wait_for("pong")["timestamp"].endswith("Z")


def test_every_event_of_an_order_is_heard_once_and_in_order(served: Served, house: House, worker: Worker) -> None:
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        generation_id = order(house, pictures=6)
        for claim in worker.claim(6):
            worker.deliver(claim)

        updates = ann.wait_for_updates(14)

    assert ann.numbers == list(range(1, 15))
    assert [update["type"] for update in updates] == ["started", *["pose_completed", "progress"] * 6, "completed"]
    assert {(update["generationId"], update["userId"]) for update in updates} == {(generation_id, "ann")}
    picture = updates[1]
    assert picture["outputImageUrl"].startswith(f"{ROOT}/files/")
    assert {"poseId", "poseLibraryId", "thumbnailUrl", "status", "errorMessage"} <= set(picture)
    assert set(updates[2]) >= {"completed", "failed", "total", "percentage", "estimatedTimeRemaining"}
    assert updates[-1]["completed"] == 6


def test_a_link_in_an_event_opens(served: Served, house: House, worker: Worker, tmp_path: Path) -> None:
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        order(house, pictures=1)
        worker.deliver(worker.claim(1)[0])
        url = ann.wait_for_updates(2)[1]["outputImageUrl"]

    key = Links(SECRET, life_s=60).read(url.split("/")[-2])[0]
    Storage(tmp_path / "storage").put(key, b"png")
    assert served.client().get(url).content == b"png"


def test_two_users_never_hear_each_other(served: Served, house: House, worker: Worker) -> None:
    house.customer("bob")
    with (
        listening(served.url, {"token": served.token("ann")}) as ann,
        listening(served.url, {"token": served.token("bob")}) as bob,
    ):
        ann.wait_for("connected")
        bob.wait_for("connected")
        order(house, "ann", 2)
        order(house, "bob", 2)
        for claim in worker.claim(4):
            worker.deliver(claim)
        ann.wait_for_updates(6)
        bob.wait_for_updates(6)

    assert {update["userId"] for update in ann.updates} == {"ann"}
    assert {update["userId"] for update in bob.updates} == {"bob"}
    assert ann.numbers == bob.numbers == list(range(1, 7))


def test_two_sockets_of_one_user_both_hear_everything(served: Served, house: House, worker: Worker) -> None:
    login = {"token": served.token("ann")}
    with listening(served.url, login) as one, listening(served.url, login) as two:
        one.wait_for("connected")
        two.wait_for("connected")
        order(house, pictures=1)
        worker.deliver(worker.claim(1)[0])

        assert one.wait_for_updates(4) == two.wait_for_updates(4)


def test_cancelling_is_heard(served: Served, house: House) -> None:
    generation_id = order(house)
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        served.client("ann").post(f"{ROOT}/generations/{generation_id}/cancel")

        assert [update["type"] for update in ann.wait_for_updates(1)] == ["cancelled"]


@pytest.mark.parametrize("seen", [0, 3, "3"])
def test_a_client_that_comes_back_hears_what_it_missed_before_anything_new(
    served: Served, house: House, worker: Worker, seen: int | str
) -> None:
    order(house, pictures=3)
    claims = worker.claim(3)
    worker.deliver(claims[0])
    worker.deliver(claims[1])  # five events while nobody listens

    with listening(served.url, {"token": served.token("ann"), "lastEventId": seen}) as ann:
        worker.deliver(claims[2])
        ann.wait_for_updates(8 - int(seen))

    assert ann.numbers == list(range(int(seen) + 1, 9))
    assert [event for event, _ in ann.heard[:2]] == ["connected", UPDATE]


def test_a_new_client_hears_only_what_is_new(served: Served, house: House, worker: Worker) -> None:
    order(house, pictures=2)
    first, second = worker.claim(2)
    worker.deliver(first)

    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        worker.deliver(second)
        ann.wait_for_updates(3)

    assert ann.numbers == [4, 5, 6]


@pytest.mark.parametrize("seen", [1, 77, -5, "rubbish", True, [1]])
def test_what_cannot_be_replayed_is_said(served: Served, house: House, worker: Worker, seen: Any) -> None:
    order(house, pictures=2)
    first, second = worker.claim(2)
    worker.deliver(first)
    with house.database.writing() as session:
        session.execute(delete(UserEvent).where(UserEvent.event_id <= 2))

    with listening(served.url, {"token": served.token("ann"), "lastEventId": seen}) as ann:
        assert ann.wait_for("resync")["eventId"] == 3
        worker.deliver(second)
        ann.wait_for_updates(3)

    assert ann.numbers == [4, 5, 6]


def test_events_are_kept_for_a_day(served: Served, house: House, worker: Worker) -> None:
    order(house, pictures=1)
    worker.deliver(worker.claim(1)[0])
    with house.database.writing() as session:
        session.execute(update(UserEvent).values(created_at=now() - timedelta(hours=25)))
    wait_until(lambda: house.count(UserEvent) == 0)

    with listening(served.url, {"token": served.token("ann"), "lastEventId": 2}) as ann:
        ann.wait_for("resync")

    assert ann.updates == []


def test_a_lost_message_is_no_lost_event(served: Served, house: House) -> None:
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        order(house, pictures=1)
        house.deliver(house.claim(now=now())[0], now=now())  # committed, never published

        ann.wait_for_updates(4)

    assert ann.numbers == [1, 2, 3, 4]


def test_a_redis_outage_delays_events_and_loses_none(
    served: Served, house: House, worker: Worker, redis_server: PrivateRedis
) -> None:
    order(house, pictures=3)
    claims = worker.claim(3)
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        worker.deliver(claims[0])
        ann.wait_for_updates(3)
        redis_server.stop()
        worker.deliver(claims[1])
        ann.wait_for_updates(5)
        redis_server.start()
        worker.deliver(claims[2])
        ann.wait_for_updates(8)

    assert ann.numbers == list(range(1, 9))


def test_forged_messages_on_the_channel_change_nothing(served: Served, house: House, worker: Worker) -> None:
    with listening(served.url, {"token": served.token("ann")}) as ann:
        ann.wait_for("connected")
        for forged in ('{"eventId": 99, "type": "completed"}', "not json", "[1]", '{"eventId": "x"}'):
            worker.bell.redis.publish("pose-generation:ann", forged)
        order(house, pictures=1)
        worker.deliver(worker.claim(1)[0])
        ann.wait_for_updates(4)

    assert ann.numbers == [1, 2, 3, 4]


def test_a_long_absence_is_replayed_whole(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    number = 1000
    with sqlite_house.database.writing() as session:
        for event_id in range(1, number + 1):
            session.add(
                UserEvent(user_id="ann", event_id=event_id, type="progress", payload={"n": event_id}, created_at=now())
            )
        session.get_one(User, "ann").event_counter = number
    with (
        serving(settings_for(sqlite_url, tmp_path)) as served,
        listening(served.url, {"token": served.token("ann"), "lastEventId": 0}) as ann,
    ):
        ann.wait_for_updates(number)

    assert ann.numbers == list(range(1, number + 1))
