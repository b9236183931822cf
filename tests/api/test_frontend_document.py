"""The tables of docs/frontend.md name what is really sent, field by field."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.house import NOW, House
from support.serving import SECRET

from api.wire import following as wire
from posegen.events import events_after
from posegen.finishing import cancel_generation
from posegen.snapshots import snapshot_of
from posegen.statuses import EventType
from posegen.storage import Links

DOCUMENT = (Path(__file__).parents[2] / "docs" / "frontend.md").read_text(encoding="utf-8")
SHARED = {"type", "generationId", "userId", "timestamp", "eventId"}
LINKS = Links(SECRET, life_s=60)
Fields = dict[str, set[str]]


def table(heading: str) -> Fields:
    """The fields that a table of the document names, by what stands in its first column."""
    rows = DOCUMENT.split(heading, 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    cells = [row.split("|") for row in rows]
    return {first.strip().strip("`"): set(re.findall(r"`(\w+)`", second)) for _, first, second, *_ in cells}


@pytest.fixture
def orders(sqlite_house: House) -> House:
    """One order that is half delivered and then cancelled, one that fails, one that is delivered."""
    for deliver, cancel in ((True, True), (False, False), (True, False)):
        ordered = sqlite_house.order("ann", 2 if cancel else 1).generation_id
        claim = sqlite_house.claim(1)[0]
        end: Callable[..., bool] = sqlite_house.deliver if deliver else sqlite_house.fail
        assert end(claim)
        if cancel:
            with sqlite_house.database.writing() as session:
                cancel_generation(session, ordered, "ann", now=NOW)
    return sqlite_house


def test_every_update_and_its_fields_stand_in_the_document(orders: House) -> None:
    sent: Fields = {}
    with orders.database.reading() as session:
        for event in events_after(session, "ann", 0):
            message = event.on_the_wire(LINKS.url)
            assert set(message) >= SHARED
            sent.setdefault(event.type, set()).update(set(message) - SHARED)

    assert table("| `type` | More fields | When |\n") == sent
    assert set(sent) == set(EventType)


def test_every_message_of_the_native_websocket_stands_in_the_document(orders: House) -> None:
    sent: Fields = {}
    with orders.database.reading() as session:
        events = events_after(session, "ann", 0)
        ids = dict.fromkeys(event.generation_id for event in events if event.generation_id)
        messages = [wire.event_message(event.on_the_wire(LINKS.url)) for event in events]
        for snapshot in (snapshot_of(session, one, now=NOW) for one in ids):
            messages += [wire.picture_message(row, LINKS) for row in snapshot.pictures]
            messages += [wire.progress_message(snapshot), *wire.final_messages(snapshot)]
    for message in messages:
        if message is not None:
            assert set(message) == {"type", "generationId", "data"}
            assert sent.setdefault(message["type"], set(message["data"])) == set(message["data"])

    assert table("| `type` | `data` |\n") == sent


def test_every_status_of_a_refusal_stands_in_the_document() -> None:
    statuses = {status for first in table("| Status | Why, and what to do |\n") for status in first.split(", ")}
    written = (Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8")

    assert statuses == set(re.findall(r'^          "([45]\d\d)": \{', written, re.MULTILINE))
