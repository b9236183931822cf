"""KEEP_GENERATIONS: old generations are forgotten whole, with their files; money, favourites and numbers stay."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from support.house import NOW, House, drawn, later
from support.serving import settings_for

from posegen.books import read_books
from posegen.favorites import mark_favorite
from posegen.finishing import cancel_generation
from posegen.identifiers import new_id
from posegen.retention import Pruned, forget_generation, prune_generations
from posegen.statistics import statistics_of
from posegen.storage import Storage
from posegen.tables import GeneratedPicture, Generation, Row, StoredObject, WorkItem

KEEP = timedelta(days=90)
LONG_AGO = -100 * 24 * 3600.0
BEFORE = NOW - KEEP


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def deliver_order(house: House, store: Storage, pictures: int = 2, *, at_s: float = LONG_AGO) -> str:
    """Place, draw, store and deliver an order at that time."""
    generation_id = house.order("ann", pictures, now=later(at_s)).generation_id
    for claim in house.claim(pictures, now=later(at_s)):
        for file in (drawn(claim).output, drawn(claim).thumbnail):
            store.put(file.key, b"12345")
        assert house.deliver(claim, now=later(at_s + 60))
    return generation_id


def prune(house: House, store: Storage, *, keep: timedelta = timedelta(days=30), dry_run: bool = False) -> Pruned:
    pruned = Pruned()
    for _ in prune_generations(house.database, store, pruned, keep=keep, dry_run=dry_run):
        pass
    return pruned


def forget(house: House, generation_id: str) -> list[str] | None:
    with house.database.writing() as session:
        return forget_generation(session, generation_id, before=BEFORE)


def files(store: Storage) -> int:
    return sum(len(page) for page in store.pages())


def test_an_old_generation_goes_with_its_rows_and_files_and_a_young_one_stays(house: House, store: Storage) -> None:
    house.customer()
    old = deliver_order(house, store)
    young = deliver_order(house, store, at_s=0)

    pruned = prune(house, store)

    assert (pruned.generations, pruned.files) == (1, 4)
    assert files(store) == 4
    assert {row.generation_id for row in house.items()} == {young}
    assert house.pictures(old) == []
    with house.database.reading() as session:
        assert session.scalars(select(Generation.id)).all() == [young]
        assert len(session.scalars(select(StoredObject.key)).all()) == 4


def test_what_was_paid_is_never_forgotten(house: House, store: Storage) -> None:
    house.customer()
    deliver_order(house, store)
    before = [(entry.id, entry.amount_credits) for entry in house.entries("ann")]

    prune(house, store)

    assert [(entry.id, entry.amount_credits) for entry in house.entries("ann")] == before
    assert house.balance("ann") == sum(amount for _id, amount in before)


def test_a_generation_with_a_favourite_stays_whole(house: House, store: Storage) -> None:
    house.customer()
    generation_id = deliver_order(house, store)
    with house.database.writing() as session:
        mark_favorite(session, "ann", house.pictures(generation_id)[0].id, is_favorite=True)

    assert prune(house, store, dry_run=True).generations == 0
    assert prune(house, store).generations == 0
    assert len(house.pictures(generation_id)) == 2
    assert files(store) == 4


def test_what_is_not_final_stays_however_old(house: House, store: Storage) -> None:
    house.customer()
    queued = house.order("ann", 2, now=later(LONG_AGO)).generation_id

    assert prune(house, store).generations == 0
    assert len(house.items(queued)) == 2


def test_a_generation_stays_while_a_background_of_it_is_being_changed(house: House, store: Storage) -> None:
    house.customer()
    generation_id = deliver_order(house, store, 1)
    drawn_item = house.items(generation_id)[0]
    columns = {column.key: getattr(drawn_item, column.key) for column in WorkItem.__table__.columns}
    later_change = {"id": new_id(), "kind": "background", "part": f"{drawn_item.part}:background:1"}
    with house.database.writing() as session:
        session.add(WorkItem(**{**columns, **later_change, "status": "queued", "finished_at": None}))

    assert prune(house, store).generations == 0
    assert len(house.items(generation_id)) == 2


def test_failed_and_cancelled_generations_go_too(house: House, store: Storage) -> None:
    house.customer()
    cancelled = house.order("ann", 2, now=later(LONG_AGO)).generation_id
    with house.database.writing() as session:
        cancel_generation(session, cancelled, "ann", now=later(LONG_AGO + 1))
    house.order("ann", 1, now=later(LONG_AGO))
    house.fail(house.claim(1, now=later(LONG_AGO))[0], now=later(LONG_AGO + 60))

    assert prune(house, store).generations == 2
    assert house.items() == []


def test_the_books_agree_on_what_was_forgotten(house: House, store: Storage) -> None:
    """Paid, refunded and of the unlimited tier alike: what is left of them adds up."""
    house.customer()
    deliver_order(house, store)
    house.subscribe("ann")
    deliver_order(house, store, 3)
    cancelled = house.order("ann", 2, now=later(LONG_AGO)).generation_id
    with house.database.writing() as session:
        cancel_generation(session, cancelled, "ann", now=later(LONG_AGO + 1))

    assert prune(house, store).generations == 3
    assert read_books(house.database).disagreements == ()


def test_the_time_counts_from_when_it_became_final(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1, now=later(LONG_AGO)).generation_id
    house.deliver(house.claim(1)[0], now=BEFORE)

    assert forget(house, generation_id) is None


def test_the_customers_numbers_stay_what_they_were(house: House, store: Storage) -> None:
    house.customer()
    deliver_order(house, store, 2)
    deliver_order(house, store, 3, at_s=0)

    def numbers() -> tuple[int, int, int, float]:
        with house.database.reading() as session:
            told = statistics_of(session, "ann", now=NOW)
        return told.pictures, told.generations, told.credits_spent, told.average_credits

    before = numbers()
    prune(house, store)

    assert numbers() == before == (5, 2, 150, 75.0)


def test_a_dry_run_forgets_nothing(house: House, store: Storage) -> None:
    house.customer()
    deliver_order(house, store)

    assert prune(house, store, dry_run=True).generations == 1
    assert (files(store), house.count(Generation)) == (4, 1)


def test_many_are_forgotten_page_by_page(house: House, store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posegen.retention._GENERATIONS_PER_PAGE", 2)
    house.customer()
    ids = [deliver_order(house, store, 1, at_s=LONG_AGO + number // 2) for number in range(7)]
    with house.database.writing() as session:
        for kept in ids[:3]:
            mark_favorite(session, "ann", house.pictures(kept)[0].id, is_favorite=True)

    assert prune(house, store).generations == 4
    assert house.count(Generation) == 3


def test_a_favourite_made_while_its_generation_is_being_forgotten_is_kept_or_gone_but_never_half(
    postgres_house: House, store: Storage
) -> None:
    """The pruner waits for who is marking the picture, and then sees the mark."""
    house = postgres_house
    house.customer()
    generation_id = deliver_order(house, store, 1)
    picture_id = house.pictures(generation_id)[0].id
    answers: list[list[str] | None] = []
    pruner = threading.Thread(target=lambda: answers.append(forget(house, generation_id)))

    with house.database.writing() as session:
        mark_favorite(session, "ann", picture_id, is_favorite=True)
        pruner.start()
        pruner.join(0.3)
        assert pruner.is_alive()
    pruner.join(10)

    assert answers == [None]
    assert len(house.pictures(generation_id)) == 1


def test_every_table_that_hangs_on_a_generation_is_known_to_the_pruning() -> None:
    """A new table with a foreign key to what is forgotten must be deleted before it."""
    forgotten = {table.__tablename__ for table in (Generation, WorkItem, GeneratedPicture, StoredObject)}

    hanging = {
        table.name
        for table in Row.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name in forgotten
    }

    assert hanging <= forgotten


@pytest.mark.parametrize(("given", "kept_for"), [("forever", None), ("90d", timedelta(days=90))])
def test_the_setting_is_forever_or_a_time(given: str, kept_for: timedelta | None, tmp_path: Path) -> None:
    settings = settings_for("sqlite://", tmp_path, keep_generations=given)

    assert settings.kept_for == kept_for


@pytest.mark.parametrize("given", ["6d", "1h", "never", "-3d"])
def test_a_time_that_is_too_short_or_none_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="keep_generations"):
        settings_for("sqlite://", tmp_path, keep_generations=given)


def test_a_ghost_that_finishes_a_picture_of_a_forgotten_generation_is_told_that_it_lost_it(house: House) -> None:
    house.customer()
    generation_id = house.order("ann", 1).generation_id
    (ghost,) = house.claim(1)
    with house.database.writing() as session:
        cancel_generation(session, generation_id, "ann", now=NOW)
    with house.database.writing() as session:
        assert forget_generation(session, generation_id, before=NOW + timedelta(days=1)) is not None

    assert not house.deliver(ghost)
    assert not house.fail(ghost)
