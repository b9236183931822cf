"""Previews between processes: what a message is, what is none, how often one may pass, and who is heard."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from support.previewing import Clock, a_preview, webp

from posegen.bell import PREVIEW_PREFIX, Bell
from posegen.channel import PreviewChannel
from posegen.errors import BellAway
from posegen.previews import MOST_MESSAGE_BYTES, PREVIEWS_A_SECOND, PreviewMessage, Turnstile, read_preview
from posegen.private_redis import PrivateRedis


def test_a_preview_is_read_as_it_was_written() -> None:
    for preview in (a_preview(), a_preview(pose_library_id=None)):
        assert read_preview(preview.to_bytes()) == preview


def test_on_the_wire_it_is_one_object_with_the_image_as_bytes() -> None:
    told = a_preview().on_the_wire()

    assert told.pop("image") == webp()
    assert told == {
        "generationId": "g1",
        "variationKey": "standing-v0",
        "poseLibraryId": "standing",
        "step": 3,
        "steps": 8,
        "width": 32,
        "height": 24,
        "mimeType": "image/webp",
    }


def altered(**fields: object) -> bytes:
    line, _, image = a_preview().to_bytes().partition(b"\n")
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n" + image


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"nonsense",
        b"{}\n" + webp(),
        b"[1]\n" + webp(),
        b"[" * 900 + b"\n" + webp(),
        a_preview().to_bytes().replace(b"RIFF", b"<svg"),
        a_preview().to_bytes() + bytes(MOST_MESSAGE_BYTES),
        altered(step="3"),
        altered(steps=True),
        altered(width=0),
        altered(height=100_000),
        altered(generationId=None),
        altered(variationKey="v" * 500),
        altered(poseLibraryId={"a": 1}),
        altered(more="x" * 2000),
    ],
    ids=lambda forged: repr(forged[:24]),
)
def test_anything_else_is_no_preview(forged: bytes) -> None:
    assert read_preview(forged) is None


def test_unknown_fields_go_no_further() -> None:
    assert read_preview(altered(html="<script>")) == a_preview()


def test_two_a_second_pass_for_each_user() -> None:
    clock = Clock()
    turnstile = Turnstile(clock)
    passed = {"ann": 0, "bob": 0}
    seen: list[tuple[float, str]] = []
    for _ in range(400):
        for user_id in passed:
            if turnstile.passes(user_id):
                passed[user_id] += 1
                seen.append((clock.now_s, user_id))
        clock.now_s += 0.025

    assert passed == {"ann": 20, "bob": 20}
    for began, user_id in seen:
        assert sum(at - began < 1 and user_id == who for at, who in seen if at >= began) <= PREVIEWS_A_SECOND


def test_the_turnstile_forgets_those_who_left() -> None:
    clock = Clock()
    turnstile = Turnstile(clock)
    for number in range(10_001):
        clock.now_s += 1
        assert turnstile.passes(str(number))

    assert len(turnstile._passed) < 10


@pytest.fixture
def bell(redis_url: str) -> Iterator[Bell]:
    made = Bell(redis_url)
    yield made
    made.close()


def test_users_are_watched_while_somebody_listens_for_their_previews(redis_url: str, bell: Bell) -> None:
    wanted = {"ann"}

    async def until(watched: set[str]) -> None:
        async with asyncio.timeout(10):
            while await asyncio.to_thread(bell.who_watches, ["ann", "bob"]) != watched:
                await asyncio.sleep(0.02)

    async def hear(heard: list[tuple[str, PreviewMessage]], source: AsyncIterator[tuple[str, PreviewMessage]]) -> None:
        async for each in source:
            heard.append(each)

    async def walk() -> list[tuple[str, PreviewMessage]]:
        heard: list[tuple[str, PreviewMessage]] = []
        async with aclosing(PreviewChannel(redis_url).listen(lambda: wanted)) as source:
            hearing = asyncio.create_task(hear(heard, source))
            await until({"ann"})
            wanted.add("bob")
            await until({"ann", "bob"})
            bell.redis.publish(f"{PREVIEW_PREFIX}bob", b"nonsense")
            bell.publish_preview("eve", a_preview().to_bytes())
            bell.publish_preview("bob", a_preview(step=5).to_bytes())
            async with asyncio.timeout(10):
                while not heard:
                    await asyncio.sleep(0.01)
            wanted.clear()
            await until(set())
            wanted.add("ann")
            await until({"ann"})
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
        return heard

    assert asyncio.run(walk()) == [("bob", a_preview(step=5))]
    assert bell.who_watches([]) == frozenset()


def test_without_redis_listening_and_asking_say_so(redis_url: str, redis_server: PrivateRedis, bell: Bell) -> None:
    redis_server.stop()

    async def listen() -> None:
        async for _ in PreviewChannel(redis_url).listen(lambda: {"ann"}):
            pass

    with pytest.raises(BellAway):
        asyncio.run(listen())
    with pytest.raises(BellAway):
        bell.who_watches(["ann"])
    with pytest.raises(BellAway):
        bell.publish_preview("ann", b"")
