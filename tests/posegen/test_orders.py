"""Placing an order: all of it or nothing of it, once."""

from typing import Any

import pytest
from sqlalchemy import update
from support.house import NOW, PEOPLE, House, all_at_once

from models.profiles import TINY
from posegen.errors import BadInput, IdempotencyMismatch, NotEnoughCredits, NotFound, WordingRefused
from posegen.identifiers import SEED_LIMIT
from posegen.orders import Order, PlacedOrder, place_order
from posegen.statuses import GenerationStatus
from posegen.tables import Generation, IdempotencyKey, LedgerEntry, LibraryPose, Project, WorkItem


def assert_nothing_was_written(house: House, credits: int) -> None:
    assert house.balance("ann") == credits
    assert house.count(Generation) == house.count(WorkItem) == house.count(IdempotencyKey) == 0
    assert house.count(LedgerEntry) == int(credits > 0)
    with house.database.reading() as session:
        assert all(project.total_generations == 0 for project in session.query(Project))


def test_an_order_is_charged_and_queued_in_one_go(house: House) -> None:
    house.customer(credits=1000)

    placed = house.order("ann", 4)

    assert (placed.total_pictures, placed.credits_charged) == (4, 120)
    assert house.balance("ann") == 880
    generation = house.generation(placed.generation_id)
    assert (generation.status, generation.total_expected_poses) == (GenerationStatus.PROCESSING, 4)
    assert [item.status for item in house.items(placed.generation_id)] == ["queued"] * 4
    house.assert_books_balance()


def test_there_is_one_picture_for_each_pose_and_variation(house: House) -> None:
    house.customer()

    placed = house.order("ann", 12)

    first, second = house.pose_ids[:2]
    keys = [item.variation_key for item in house.items(placed.generation_id)]
    assert keys == [f"{pose}-v{variation}" for pose in (first, second) for variation in range(6)]


def test_pictures_keep_the_order_they_were_asked_in(house: House) -> None:
    house.customer()
    backwards = tuple(reversed(house.pose_ids))

    placed = house.order("ann", 4, pose_ids=backwards)

    assert [item.pose_id for item in house.items(placed.generation_id)][::4] == list(backwards)


def test_what_was_not_asked_for_is_the_profiles_default(house: House) -> None:
    house.customer()

    item = house.items(house.order("ann", 1).generation_id)[0]

    assert (item.profile, item.steps, item.guidance) == ("tiny", TINY.default_steps, TINY.default_guidance)
    assert (item.control_scale, item.control_end) == (TINY.default_control_scale, TINY.default_control_end)


def test_what_was_asked_for_is_kept_even_when_it_is_zero(house: House) -> None:
    house.customer()

    placed = house.order("ann", 1, steps=3, guidance=0.0, control_scale=0.0, seed=0)

    item = house.items(placed.generation_id)[0]
    assert (item.steps, item.guidance, item.control_scale, item.seed) == (3, 0.0, 0.0, 0)


def test_a_given_seed_counts_up_from_picture_to_picture(house: House) -> None:
    house.customer()

    placed = house.order("ann", 3, seed=SEED_LIMIT - 2)

    assert [item.seed for item in house.items(placed.generation_id)] == [SEED_LIMIT - 2, SEED_LIMIT - 1, 0]


def test_without_a_seed_every_picture_gets_its_own(house: House) -> None:
    house.customer()

    placed = house.order("ann", 6)

    assert len({item.seed for item in house.items(placed.generation_id)}) == 6


def test_the_prompt_holds_the_customers_words_and_the_poses(house: House) -> None:
    house.customer()

    placed = house.order("ann", 1, words="a red coat")

    prompt = house.items(placed.generation_id)[0].prompt
    assert prompt.startswith("person, a red coat, Pose 0, standing in the way number 0")


def test_the_key_points_are_those_of_the_moment_of_the_order(house: House) -> None:
    house.customer()
    placed = house.order("ann", 1)

    with house.database.writing() as session:
        session.execute(update(LibraryPose).values(people={"people": []}, name="renamed"))

    item = house.items(placed.generation_id)[0]
    assert item.people == PEOPLE
    assert "Pose 0" in item.prompt


def test_too_few_credits_leave_nothing_behind(house: House) -> None:
    house.customer(credits=119)

    with pytest.raises(NotEnoughCredits) as refused:
        house.order("ann", 4, key="k")

    assert (refused.value.required, refused.value.balance) == (120, 119)
    assert_nothing_was_written(house, 119)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 51}, "steps"),
        ({"guidance": -0.1}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"control_scale": 2.1}, "controlStrength"),
        ({"seed": -1}, "seed"),
        ({"seed": SEED_LIMIT}, "seed"),
        ({"size": (4096, 4096)}, "width"),
        ({"pose_ids": ()}, "selectedPoseIds"),
    ],
)
def test_what_the_profile_cannot_draw_leaves_nothing_behind(house: House, asked: dict[str, Any], field: str) -> None:
    house.customer(credits=500)

    with pytest.raises(BadInput) as refused:
        house.order("ann", 1, key="k", **asked)

    assert [problem.field for problem in refused.value.problems] == [field]
    assert_nothing_was_written(house, 500)


def test_all_refused_fields_are_named_at_once(house: House) -> None:
    house.customer()

    with pytest.raises(BadInput) as refused:
        house.order("ann", 1, steps=0, seed=-1, size=(1, 1))

    assert {problem.field for problem in refused.value.problems} == {"steps", "seed", "width"}


def test_refused_wording_leaves_nothing_behind(house: House) -> None:
    house.customer(credits=500)

    with pytest.raises(WordingRefused):
        house.order("ann", 1, words="a bloody scene", key="k")

    assert_nothing_was_written(house, 500)


def test_a_pose_that_does_not_exist_is_named_and_leaves_nothing_behind(house: House) -> None:
    house.customer(credits=500)

    with pytest.raises(NotFound) as refused:
        house.order("ann", 2, pose_ids=(house.pose_ids[0], "no-such-pose"), key="k")

    assert refused.value.ids == ("no-such-pose",)
    assert_nothing_was_written(house, 500)


def test_a_pose_that_is_not_public_does_not_exist(house: House) -> None:
    house.customer(credits=500)
    with house.database.writing() as session:
        session.execute(update(LibraryPose).values(is_public=False))

    with pytest.raises(NotFound):
        house.order("ann", 1)


def test_a_pose_named_twice_is_refused(house: House) -> None:
    house.customer(credits=500)

    with pytest.raises(BadInput, match="twice"):
        house.order("ann", 2, pose_ids=(house.pose_ids[0],) * 2)

    assert_nothing_was_written(house, 500)


def test_somebody_elses_project_does_not_exist(house: House) -> None:
    house.customer("ann", credits=500)
    house.customer("bob", credits=500)
    bobs = house.project("bob")

    order = Order(project_id=bobs, pose_ids=tuple(house.pose_ids[:1]), variations=1)

    with pytest.raises(NotFound) as refused, house.database.writing() as session:
        place_order(session, "ann", order, profile_name="tiny", now=NOW)

    assert refused.value.kind == "project"
    assert (house.balance("ann"), house.balance("bob")) == (500, 500)
    assert house.count(Generation) == house.count(WorkItem) == 0


def test_the_same_key_and_order_get_the_same_answer_and_are_charged_once(house: House) -> None:
    house.customer(credits=1000)

    first = house.order("ann", 4, key="k", seed=7)
    second = house.order("ann", 4, key="k", seed=7)

    assert second == first
    assert house.count(Generation) == 1
    assert house.balance("ann") == 880


def test_the_same_key_with_another_order_is_a_mismatch(house: House) -> None:
    house.customer(credits=1000)
    house.order("ann", 4, key="k", seed=7)

    with pytest.raises(IdempotencyMismatch):
        house.order("ann", 4, key="k", seed=8)

    assert house.balance("ann") == 880


def test_two_users_may_use_the_same_key(house: House) -> None:
    house.customer("ann")
    house.customer("bob")

    assert house.order("ann", 1, key="k").generation_id != house.order("bob", 1, key="k").generation_id


def test_a_key_of_a_refused_order_may_be_used_again(house: House) -> None:
    house.customer(credits=500)
    with pytest.raises(BadInput):
        house.order("ann", 1, key="k", steps=0)

    assert house.order("ann", 1, key="k").total_pictures == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_cannot_be_kept_is_refused(house: House, key: str) -> None:
    house.customer(credits=500)

    with pytest.raises(BadInput, match="Idempotency-Key"):
        house.order("ann", 1, key=key)

    assert_nothing_was_written(house, 500)


def test_twins_at_the_same_time_make_one_order(house: House) -> None:
    house.customer(credits=1000)
    house.project("ann")

    answers = all_at_once([lambda: house.order("ann", 4, key="k", seed=7)] * 6)

    assert all(isinstance(answer, PlacedOrder) for answer in answers), answers
    assert len({answer.generation_id for answer in answers if isinstance(answer, PlacedOrder)}) == 1
    assert house.balance("ann") == 880
    house.assert_books_balance()


def test_when_the_first_twin_is_refused_the_other_stands_alone(house: House) -> None:
    """Six twins for credits that pay no order: each is refused for itself, none waits for ever."""
    house.customer(credits=10)
    house.project("ann")

    answers = all_at_once([lambda: house.order("ann", 4, key="k", seed=7)] * 6)

    assert all(isinstance(answer, NotEnoughCredits) for answer in answers), answers
    assert_nothing_was_written(house, 10)


def test_orders_at_the_same_time_never_cost_more_than_the_balance(house: House) -> None:
    house.customer(credits=30 * 5)
    house.project("ann")

    answers = all_at_once([lambda: house.order("ann", 1)] * 8)

    assert sum(isinstance(answer, PlacedOrder) for answer in answers) == 5
    assert sum(isinstance(answer, NotEnoughCredits) for answer in answers) == 3
    house.assert_books_balance()


def test_the_project_counts_its_generations(house: House) -> None:
    house.customer()

    house.order("ann", 1)
    house.order("ann", 1)

    with house.database.reading() as session:
        assert [project.total_generations for project in session.query(Project)] == [2]
