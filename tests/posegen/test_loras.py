"""LoRAs of orders and avatars: merged, refused with the list, kept with everything they were drawn for."""

from pathlib import Path

import pytest
from support.house import NOW, House
from support.photos import photo

from models.errors import LoraMissing, LoraUnfit
from models.loras import MOST_LORAS, Lora, applied, find_loras, shelf
from posegen import avatars
from posegen.avatars import Looks
from posegen.errors import BadInput
from posegen.leases import Claimant, claim_items
from posegen.loras import lora_problems, merged_loras, read_loras
from posegen.orders import Order, PlacedOrder, place_order
from posegen.queueing import Room
from posegen.quotes import quote_order
from posegen.retrying import retry_generation
from posegen.storage import Storage
from posegen.uploads import check_photo

KNOWN = ("film", "ink", "studio light", "v1.2")
FILM, INK = Lora(name="film", strength=0.8), Lora(name="ink", strength=0.5)


@pytest.fixture
def avatar_id(house: House, tmp_path: Path) -> str:
    """An avatar of ann's, with the LoRA ink at 0.5."""
    house.customer("ann")
    stored = avatars.store_photo(Storage(tmp_path / "storage"), "ann", check_photo(photo(), file_name="me.jpg"))
    with house.database.writing() as session:
        made = avatars.create_avatar(session, "ann", stored, name="Mia", looks=Looks(), now=NOW)
        avatars.change_avatar(session, "ann", made.id, {}, loras=(INK,), known_loras=KNOWN, now=NOW)
        return made.id


def order(
    house: House, *loras: Lora, avatar_id: str | None = None, known: tuple[str, ...] = KNOWN, key: str | None = None
) -> PlacedOrder:
    project_id = None if avatar_id else house.project("ann")
    asked = Order(
        project_id=project_id, avatar_id=avatar_id, pose_ids=(house.pose_ids[0],), variations=1, loras=tuple(loras)
    )
    with house.database.writing() as session:
        return place_order(session, "ann", asked, profile_name="tiny", known_loras=known, idempotency_key=key, now=NOW)


def drawn_with(house: House, placed: PlacedOrder) -> list[tuple[str, float]]:
    rows = [house.generation(placed.generation_id), *house.items(placed.generation_id)]
    kept = [[(lora.name, lora.strength) for lora in read_loras(row.loras)] for row in rows]
    assert all(one == kept[0] for one in kept)
    return kept[0]


def test_an_order_keeps_its_loras_in_one_order(house: House) -> None:
    house.customer("ann")
    assert drawn_with(house, order(house, INK, FILM)) == [("film", 0.8), ("ink", 0.5)]
    assert drawn_with(house, order(house)) == []


def test_an_avatars_loras_are_merged_into_its_orders(house: House, avatar_id: str) -> None:
    assert drawn_with(house, order(house, avatar_id=avatar_id)) == [("ink", 0.5)]
    assert drawn_with(house, order(house, FILM, avatar_id=avatar_id)) == [("film", 0.8), ("ink", 0.5)]


def test_an_order_may_draw_an_avatars_lora_otherwise_or_not_at_all(house: House, avatar_id: str) -> None:
    stronger, none = Lora(name="ink", strength=2.0), Lora(name="ink", strength=0.0)
    assert drawn_with(house, order(house, stronger, avatar_id=avatar_id)) == [("ink", 2.0)]
    assert drawn_with(house, order(house, none, avatar_id=avatar_id)) == []


def test_orders_that_were_placed_keep_the_avatars_old_loras(house: House, avatar_id: str) -> None:
    placed = order(house, avatar_id=avatar_id)
    with house.database.writing() as session:
        avatars.change_avatar(session, "ann", avatar_id, {}, loras=(), known_loras=KNOWN, now=NOW)
    assert drawn_with(house, placed) == [("ink", 0.5)]
    assert drawn_with(house, order(house, avatar_id=avatar_id)) == []


def test_an_unknown_name_is_refused_with_those_there_are_and_nothing_is_charged(house: House) -> None:
    house.customer("ann")
    before = house.balance("ann")
    with pytest.raises(BadInput, match=r"no LoRA 'noir'; choose one of film, ink, studio light, v1\.2") as refused:
        order(house, FILM, Lora(name="noir"))
    assert [problem.field for problem in refused.value.problems] == ["loras[1].name"]
    assert (house.balance("ann"), house.items()) == (before, [])


@pytest.mark.parametrize(
    ("loras", "fields"),
    [
        ((Lora(name="film", strength=2.1),), ["loras[0].strength"]),
        ((Lora(name="film", strength=-0.1), Lora(name="../film")), ["loras[0].strength", "loras[1].name"]),
        ((FILM, FILM), ["loras"]),
        (tuple(Lora(name=name) for name in ("film", "ink", "v1.2", "studio light", "film")), ["loras"]),
    ],
)
def test_whatever_is_wrong_with_a_set_is_named(loras: tuple[Lora, ...], fields: list[str]) -> None:
    assert [problem.field for problem in lora_problems(loras, KNOWN)] == fields


def test_what_an_avatar_brings_in_is_checked_with_every_order(house: House, avatar_id: str) -> None:
    with pytest.raises(BadInput, match=r"The avatar's LoRA 'ink' is not here any more"):
        order(house, avatar_id=avatar_id, known=("film",))
    assert drawn_with(house, order(house, Lora(name="ink", strength=0), avatar_id=avatar_id)) == []
    many = [Lora(name=f"l{number}") for number in range(MOST_LORAS)]
    with pytest.raises(BadInput, match="With the avatar's own there are 5 LoRAs, at most 4"):
        order(house, *many, avatar_id=avatar_id, known=(*KNOWN, *(lora.name for lora in many)))


def test_an_avatar_takes_only_what_is_there(house: House, avatar_id: str) -> None:
    with house.database.writing() as session, pytest.raises(BadInput, match="no LoRA 'noir'"):
        avatars.change_avatar(session, "ann", avatar_id, {}, loras=(Lora(name="noir"),), known_loras=KNOWN, now=NOW)


def test_a_quote_refuses_what_the_order_would_be_refused_for(house: House) -> None:
    house.customer("ann")
    asked = Order(project_id=house.project("ann"), pose_ids=(house.pose_ids[0],), variations=1, loras=(FILM,))
    with house.database.reading() as session:
        assert quote_order(session, "ann", asked, profile_name="tiny", known_loras=KNOWN, now=NOW).total_pictures == 1
        with pytest.raises(BadInput, match="no LoRA 'film'; there are none here"):
            quote_order(session, "ann", asked, profile_name="tiny", now=NOW)


def test_pictures_say_with_what_they_were_drawn_and_retries_repeat_it(house: House) -> None:
    house.customer("ann")
    placed = order(house, INK, FILM)
    claim = house.claim()[0]
    assert claim.loras == (FILM, INK)
    house.fail(claim)
    house.worker()
    with house.database.writing() as session:
        again = retry_generation(session, "ann", placed.generation_id, profile_name="tiny", now=NOW)
    assert drawn_with(house, again) == [("film", 0.8), ("ink", 0.5)]
    house.deliver(house.claim()[0])
    kept = [house.pictures(one.generation_id)[0].loras for one in (placed, again)]
    assert kept == [[{"name": "film", "strength": 0.8}, {"name": "ink", "strength": 0.5}]] * 2


def test_only_pictures_with_the_same_loras_are_claimed_together(house: House) -> None:
    house.customer("ann")
    with_film, plain, again = order(house, FILM), order(house), order(house, FILM)
    first = house.claim()
    assert {claim.generation_id for claim in first} == {with_film.generation_id, again.generation_id}
    assert house.claim(size_px=(256, 256)) != []
    assert {item.status for item in house.items(plain.generation_id)} == {"drawing"}


def test_what_is_being_drawn_says_what_may_join(house: House) -> None:
    house.customer("ann")
    order(house)
    with_film = order(house, FILM)
    with house.database.writing() as session:
        claims = claim_items(
            session,
            Claimant(worker="w1", profile="tiny", lease_s=20),
            Room(free_rows=4, size_px=(256, 256), loras=(FILM,)),
            now=NOW,
        )
    assert [claim.generation_id for claim in claims] == [with_film.generation_id]


def test_sets_that_mean_the_same_are_the_same() -> None:
    assert applied([INK, FILM, Lora(name="off", strength=0)]) == (FILM, INK)
    assert merged_loras((INK, FILM), (Lora(name="film", strength=0),)) == (INK,)


def test_the_shelf_is_the_safetensors_files_of_one_folder(tmp_path: Path) -> None:
    for name in ("film.safetensors", "v1.2.safetensors", "pickled.bin", ".hidden.safetensors", "x\nx.safetensors"):
        (tmp_path / name).write_bytes(b"anything")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "in.safetensors").write_bytes(b"anything")
    assert set(shelf(tmp_path)) == {"film", "v1.2"}
    assert shelf(tmp_path / "nothing") == {}
    with pytest.raises(LoraMissing):
        find_loras((Lora(name="deeper/in"),), shelf(tmp_path))
    with pytest.raises(LoraUnfit, match="the file is damaged"):
        find_loras((FILM,), shelf(tmp_path))
