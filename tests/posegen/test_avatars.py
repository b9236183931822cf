"""Avatars: their files come and go with them, projects that show them keep them, orders take their looks."""

from pathlib import Path

import pytest
from support.house import NOW, House, all_at_once, later
from support.photos import photo

from posegen import avatars, projects
from posegen.avatars import Looks, StoredPhoto
from posegen.errors import BadInput, Conflict, NotFound, WordingRefused
from posegen.finishing import cancel_generation
from posegen.orders import Order, PlacedOrder, place_order
from posegen.storage import Storage
from posegen.tables import Avatar, Generation, Project, StoredObject
from posegen.uploads import check_photo


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


@pytest.fixture
def stored(storage: Storage) -> StoredPhoto:
    return avatars.store_photo(storage, "ann", check_photo(photo(), file_name="me.jpg"))


@pytest.fixture
def avatar(house: House, stored: StoredPhoto) -> Avatar:
    """Ann's avatar, of whom a little is known."""
    house.customer("ann")
    looks = Looks(gender="female", age_range="30-39", ethnicity="", style="editorial", hair_color="red")
    with house.database.writing() as session:
        return avatars.create_avatar(session, "ann", stored, name="Mia", looks=looks, now=NOW)


def project_around(house: House, avatar: Avatar) -> str:
    with house.database.writing() as session:
        return projects.create_project(
            session, "ann", name="Spring", description=None, avatar_image_url="/x", avatar_id=avatar.id, now=NOW
        ).id


def order(house: House, *, project_id: str | None = None, avatar_id: str | None = None) -> PlacedOrder:
    asked = Order(project_id=project_id, avatar_id=avatar_id, pose_ids=(house.pose_ids[0],), variations=1)
    with house.database.writing() as session:
        return place_order(session, "ann", asked, profile_name="tiny", now=NOW)


def delete(house: House, avatar: Avatar) -> list[str]:
    with house.database.writing() as session:
        return avatars.delete_avatar(session, "ann", avatar.id, now=NOW)


def delete_project(house: House, project_id: str) -> list[str]:
    with house.database.writing() as session:
        return projects.delete_project(session, "ann", project_id, now=NOW)


def test_an_avatar_names_its_two_files(house: House, storage: Storage, avatar: Avatar) -> None:
    with house.database.reading() as session:
        types = {key: session.get_one(StoredObject, key) for key in (avatar.image_key, avatar.thumbnail_key)}

    assert [row.content_type for row in types.values()] == ["image/jpeg", "image/webp"]
    assert all(len(storage.get(key)) == row.size_bytes for key, row in types.items())
    assert (avatar.width_px, avatar.height_px) == (640, 512)


@pytest.mark.parametrize("user_id", ["auth0|7", "../../etc", "Ünï", "x" * 64])
def test_files_of_any_user_have_plain_keys(storage: Storage, user_id: str) -> None:
    stored = avatars.store_photo(storage, user_id, check_photo(photo(), file_name=None))

    assert storage.holds(stored.image_key)
    assert storage.holds(stored.thumbnail_key)


def test_looks_that_are_not_drawn_here_are_refused(house: House, avatar: Avatar, stored: StoredPhoto) -> None:
    with house.database.writing() as session, pytest.raises(WordingRefused) as refused:
        avatars.change_avatar(session, "ann", avatar.id, {"hair_style": "nude"}, now=NOW)

    assert refused.value.problems[0].field == "hairStyle"


def test_an_order_takes_the_looks_of_the_projects_avatar(house: House, avatar: Avatar) -> None:
    placed = order(house, project_id=project_around(house, avatar))

    generation = house.generation(placed.generation_id)
    looks = {"gender": "female", "ageRange": "30-39", "style": "editorial", "hairColor": "red"}
    assert (generation.avatar_id, generation.avatar_attributes) == (avatar.id, looks)
    assert house.items(placed.generation_id)[0].prompt.startswith("editorial style, 30-39, female person, Pose 0")


def test_an_orders_own_avatar_wins_over_the_projects(house: House, avatar: Avatar) -> None:
    house_project = house.project("ann")

    placed = order(house, project_id=house_project, avatar_id=avatar.id)

    generation = house.generation(placed.generation_id)
    assert (generation.project_id, generation.avatar_id) == (house_project, avatar.id)


def test_looks_that_change_later_do_not_change_a_paid_order(house: House, avatar: Avatar) -> None:
    placed = order(house, avatar_id=avatar.id)
    with house.database.writing() as session:
        avatars.change_avatar(session, "ann", avatar.id, {"style": "noir"}, now=later(1))

    assert house.generation(placed.generation_id).avatar_attributes["style"] == "editorial"  # type: ignore[index]
    assert house.generation(order(house, avatar_id=avatar.id).generation_id).avatar_attributes["style"] == "noir"  # type: ignore[index]


def test_orders_without_a_project_share_the_avatars_default_one(house: House, avatar: Avatar) -> None:
    outcomes = all_at_once([lambda: order(house, avatar_id=avatar.id)] * 4)

    places = {house.generation(placed.generation_id).project_id for placed in outcomes}  # type: ignore[union-attr]
    assert len(places) == house.count(Project) == 1
    with house.database.reading() as session:
        default = session.get_one(Project, places.pop())
    assert (default.project_name, default.avatar_id, default.total_generations) == ("Pictures of Mia", avatar.id, 4)
    house.assert_books_balance()


def test_after_its_default_project_is_deleted_an_avatar_gets_a_new_one(house: House, avatar: Avatar) -> None:
    first = order(house, avatar_id=avatar.id)
    with house.database.writing() as session:
        cancel_generation(session, first.generation_id, "ann", now=NOW)
    delete_project(house, house.generation(first.generation_id).project_id)

    second = order(house, avatar_id=avatar.id)

    places = [house.generation(placed.generation_id).project_id for placed in (first, second)]
    assert places[0] != places[1]


def test_an_order_names_a_project_or_an_avatar(house: House, avatar: Avatar) -> None:
    with pytest.raises(BadInput) as refused:
        order(house)

    assert refused.value.problems[0].field == "projectId"
    assert house.count(Generation) == 0


def test_somebody_elses_avatar_does_not_exist(house: House, avatar: Avatar) -> None:
    house.customer("bob")
    asked = Order(project_id=house.project("bob"), avatar_id=avatar.id, pose_ids=(house.pose_ids[0],), variations=1)

    with house.database.writing() as session, pytest.raises(NotFound, match="avatar"):
        place_order(session, "bob", asked, profile_name="tiny", now=NOW)
    with house.database.writing() as session, pytest.raises(NotFound, match="avatar"):
        avatars.change_avatar(session, "bob", avatar.id, {"name": "Mine"}, now=NOW)
    with house.database.writing() as session, pytest.raises(NotFound, match="avatar"):
        avatars.delete_avatar(session, "bob", avatar.id, now=NOW)


def test_a_new_photo_takes_the_place_of_the_old_files(house: House, storage: Storage, avatar: Avatar) -> None:
    old = [avatar.image_key, avatar.thumbnail_key]
    another = avatars.store_photo(storage, "ann", check_photo(photo("PNG"), file_name=None))
    with house.database.writing() as session:
        changed, unnamed = avatars.change_avatar(session, "ann", avatar.id, {}, another, now=later(1))

    assert unnamed == old
    assert changed.image_key == another.image_key
    assert house.count(StoredObject) == 2


def test_a_deleted_avatar_takes_its_files_with_it(house: House, avatar: Avatar) -> None:
    assert delete(house, avatar) == [avatar.image_key, avatar.thumbnail_key]
    assert (house.count(Avatar), house.count(StoredObject)) == (0, 0)


def test_a_deleted_avatar_stays_for_the_projects_that_show_it(house: House, avatar: Avatar) -> None:
    first, second = project_around(house, avatar), project_around(house, avatar)

    assert delete(house, avatar) == []
    with house.database.reading() as session:
        assert avatars.list_avatars(session, "ann") == []
    placed = order(house, project_id=first)
    assert house.generation(placed.generation_id).avatar_attributes is not None
    with house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=NOW)

    assert delete_project(house, first) == []
    assert delete_project(house, second) == [avatar.image_key, avatar.thumbnail_key]
    assert (house.count(Avatar), house.count(StoredObject)) == (0, 0)


def test_a_project_is_not_made_around_a_deleted_avatar(house: House, avatar: Avatar) -> None:
    delete(house, avatar)

    with pytest.raises(NotFound):
        project_around(house, avatar)


def test_an_avatar_that_goes_while_projects_are_made_around_it_stays_for_those(house: House, avatar: Avatar) -> None:
    outcomes = all_at_once([lambda: delete(house, avatar), *[lambda: project_around(house, avatar)] * 3])

    made = [outcome for outcome in outcomes[1:] if isinstance(outcome, str)]
    assert all(isinstance(outcome, (str, NotFound)) for outcome in outcomes[1:])
    assert house.count(Project) == len(made)
    assert house.count(Avatar) == (1 if made else 0)
    assert bool(outcomes[0]) is not bool(made)


def test_a_project_with_pictures_to_be_drawn_is_not_deleted(house: House, avatar: Avatar) -> None:
    project_id = project_around(house, avatar)
    placed = order(house, project_id=project_id)

    with pytest.raises(Conflict, match="still being drawn"):
        delete_project(house, project_id)

    with house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=NOW)
    delete_project(house, project_id)
    with house.database.reading() as session, pytest.raises(NotFound):
        projects.owned_project(session, "ann", project_id)
    assert house.generation(placed.generation_id).status == "cancelled"


def test_of_an_order_and_the_deletion_of_its_project_one_is_first(house: House, avatar: Avatar) -> None:
    for _ in range(3):
        project_id = project_around(house, avatar)

        ordered, deleted = all_at_once(
            [lambda at=project_id: order(house, project_id=at), lambda at=project_id: delete_project(house, at)]  # type: ignore[misc]
        )

        assert isinstance(ordered, PlacedOrder) is isinstance(deleted, Conflict)
        assert isinstance(ordered, NotFound) is isinstance(deleted, list)
    house.assert_books_balance()
