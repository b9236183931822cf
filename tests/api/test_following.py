"""The native WebSocket: one generation, from its state now to its end, for who knows its id."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import websocket
from support.following import following
from support.house import House, drawn
from support.serving import ROOT, SECRET, Served
from support.waiting import wait_until

from posegen.announcing import Announcer
from posegen.bell import Bell
from posegen.events import prune_events
from posegen.finishing import deliver_picture
from posegen.leases import Claim
from posegen.storage import Links

COUNTS = {"generationId", "progress", "posesCompleted", "posesFailed", "totalPoses", "estimatedTimeRemaining"}
PICTURE = {
    "generationId", "poseId", "poseLibraryId", "outputImageUrl", "thumbnailUrl", "poseScore", "aiConfidenceScore",
    "status", "errorMessage",
}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def types(messages: list[Any]) -> list[str]:
    return [message["type"] for message in messages]


@pytest.mark.parametrize("redis_works", [True, False], ids=["redis", "without-redis"])
def test_a_generation_is_followed_from_its_first_picture_to_its_end(
    served: Served, house: House, redis_url: str, redis_works: bool
) -> None:
    bell = Bell(redis_url if redis_works else "redis://127.0.0.1:1/0")
    announcer = Announcer(house.database, bell, Links(SECRET, life_s=60))
    generation_id = house.order("ann", 3, now=now()).generation_id
    other = house.order("ann", 1, now=now()).generation_id

    def deliver(claim: Claim) -> None:
        with announcer.writing() as session:
            assert deliver_picture(session, claim, drawn(claim), now=now())

    with following(served, generation_id) as client:
        first = client.read()
        for claim in house.claim(4, now=now()):
            deliver(claim)
        told = client.read_until("generation_completed")
        closed = client.read()
    bell.close()

    assert (first["type"], first["generationId"], set(first["data"])) == ("progress", generation_id, COUNTS)
    assert (first["data"]["progress"], first["data"]["totalPoses"]) == (0, 3)
    assert {message["generationId"] for message in told} == {generation_id} != {other}
    pictures = [message["data"] for message in told if message["type"] == "pose_completed"]
    assert {picture["poseId"] for picture in pictures} == {row.id for row in house.pictures(generation_id)}
    assert len(pictures) == 3
    assert all(set(picture) == PICTURE and "/files/" in picture["outputImageUrl"] for picture in pictures)
    counts = [message["data"]["posesCompleted"] for message in told if message["type"] == "progress"]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    last = told[-1]["data"]
    assert (last["status"], last["posesCompleted"], last["posesFailed"], last["totalPoses"]) == ("completed", 3, 0, 3)
    assert closed == 1000


def test_who_comes_late_is_told_everything_at_once(sqlite_served: Served, sqlite_house: House) -> None:
    generation_id = sqlite_house.order("ann", 2, now=now()).generation_id
    first, second = sqlite_house.claim(2, now=now())
    sqlite_house.deliver(first, now=now())

    with following(sqlite_served, generation_id) as early:
        assert types(early.read_until("progress")) == ["pose_completed", "progress"]
        sqlite_house.fail(second, now=now())
        rest = early.read_until("generation_completed")
    with following(sqlite_served, generation_id) as late:
        told = late.read_until("generation_completed")
        assert late.read() == 1000

    assert types(told) == ["pose_completed", "pose_completed", "progress", "generation_completed"]
    assert [message["data"]["status"] for message in told[:2]] == ["completed", "failed"]
    assert sum(message["type"] == "pose_completed" for message in rest) == 1  # the first was told before
    assert told[-1] == rest[-1]


def test_a_failed_generation_ends_with_its_reason(sqlite_served: Served, sqlite_house: House) -> None:
    generation_id = sqlite_house.order("ann", 1, now=now()).generation_id
    with following(sqlite_served, generation_id) as client:
        client.read()
        sqlite_house.fail(sqlite_house.claim(1, now=now())[0], now=now())
        told = client.read_until("generation_completed")

    assert types(told)[-2:] == ["error", "generation_completed"]
    assert told[-2]["data"] == {"message": "It could not be drawn."}
    assert (told[-1]["data"]["status"], told[-1]["data"]["creditRefunded"]) == ("failed", 30)


def test_a_cancelled_generation_ends_too(sqlite_served: Served, sqlite_house: House, sqlite_ann: httpx2.Client) -> None:
    generation_id = sqlite_house.order("ann", 2, now=now()).generation_id
    with following(sqlite_served, generation_id) as client:
        client.read()
        sqlite_ann.post(f"{ROOT}/generations/{generation_id}/cancel")

        assert client.read_until("generation_completed")[-1]["data"]["status"] == "cancelled"


def test_events_that_are_not_kept_any_more_are_no_loss(sqlite_served: Served, sqlite_house: House) -> None:
    generation_id = sqlite_house.order("ann", 1, now=now()).generation_id
    sqlite_house.deliver(sqlite_house.claim(1, now=now())[0], now=now())
    with sqlite_house.database.writing() as session:
        assert prune_events(session, now=now() + timedelta(days=2)) > 0

    with following(sqlite_served, generation_id) as client:
        assert types(client.read_until("generation_completed")) == [
            "pose_completed",
            "progress",
            "generation_completed",
        ]


@pytest.mark.parametrize("generation_id", ["nothing", "a%00b", "%22", "x" * 500])
def test_an_unknown_generation_is_an_error_and_the_end(served: Served, generation_id: str) -> None:
    with following(served, generation_id) as client:
        told = client.read()
        closed = client.read()

    assert told["type"] == "error"
    assert isinstance(told["data"]["message"], str)
    assert closed == 1008


def test_only_pages_that_may_call_may_follow(sqlite_served: Served, sqlite_house: House) -> None:
    generation_id = sqlite_house.order("ann", 1, now=now()).generation_id

    with (
        pytest.raises(websocket.WebSocketBadStatusException, match="403"),
        following(sqlite_served, generation_id, origin="https://evil.example"),
    ):
        pass
    for origin in ("http://localhost:5173", sqlite_served.url):
        with following(sqlite_served, generation_id, origin=origin) as client:
            assert client.read()["type"] == "progress"


def test_what_a_client_says_is_ignored_and_its_leaving_noticed(
    sqlite_served: Served, sqlite_house: House, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    generation_id = sqlite_house.order("ann", 2, now=now()).generation_id
    first, second = sqlite_house.claim(2, now=now())
    with following(sqlite_served, generation_id) as client:
        client.read()
        client.socket.send("{not json")
        client.socket.send_binary(b"\0\1")
        sqlite_house.deliver(first, now=now())
        assert client.read_until("pose_completed")
    sqlite_house.deliver(second, now=now())

    with following(sqlite_served, generation_id) as another:
        assert wait_until(lambda: another.read_until("generation_completed"))
    told = capsys.readouterr().out
    assert "follower_failed" not in told
    assert "Traceback" not in told + caplog.text
