"""Placing an order: what it costs, what is refused, and that a refusal leaves nothing behind."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from support.house import House, all_at_once
from support.servers import PostgresServer
from support.serving import ROOT, Served, serving, settings_for

from posegen.bell import Bell
from posegen.database import Database
from posegen.private_redis import PrivateRedis
from posegen.tables import Generation, IdempotencyKey, LedgerEntry, WorkItem

GENERATE = f"{ROOT}/generate"


def body(house: House, **more: Any) -> dict[str, Any]:
    """An order of two poses in two variations: 120 credits."""
    return {
        "projectId": house.project("ann"),
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": house.pose_ids[:2],
        "batchSize": 2,
        **more,
    }


def kept(house: House) -> tuple[int, ...]:
    """Everything an order writes, in numbers."""
    return (
        house.balance("ann"),
        *(house.count(table) for table in (Generation, WorkItem, LedgerEntry, IdempotencyKey)),
    )


def fields(answer: httpx2.Response) -> set[str]:
    return {one["field"] for one in answer.json()["errors"]}


def test_an_order_is_accepted_paid_and_queued(ann: httpx2.Client, house: House) -> None:
    answer = ann.post(GENERATE, json=body(house))

    assert answer.status_code == 202
    told = answer.json()
    generation_id = told.pop("generationId")
    assert told == {
        "success": True,
        "status": "processing",
        "totalPosesExpected": 4,
        "creditCharged": 120,
        "estimatedCompletionTime": None,
        "message": "4 pictures ordered for 120 credits.",
    }
    assert answer.headers["location"] == f"{ROOT}/generations/{generation_id}"
    assert ann.get(answer.headers["location"]).json()["generation"]["id"] == generation_id
    assert house.balance("ann") == 880
    assert [item.status for item in house.items(generation_id)] == ["queued"] * 4
    house.assert_books_balance(beside_api=True)


def test_an_order_takes_its_defaults_from_the_contract_and_the_profile(ann: httpx2.Client, house: House) -> None:
    asked = {"projectId": house.project("ann"), "generationType": "GALLERY_REFERENCE"}

    told = ann.post(GENERATE, json={**asked, "selectedPoseIds": house.pose_ids[:1]}).json()

    assert told["totalPosesExpected"] == 4
    item = house.items(told["generationId"])[0]
    assert (item.width_px, item.height_px, item.steps, item.guidance) == (256, 256, 8, 3.5)


def test_wishes_reach_every_picture(ann: httpx2.Client, house: House) -> None:
    wishes = {
        "textPrompt": "  a red summer dress  ", "width": 128, "height": 128, "seed": 7, "steps": 3,
        "guidance": 2, "controlStrength": 0.5,
    }  # fmt: skip

    told = ann.post(GENERATE, json=body(house, **wishes)).json()

    items = house.items(told["generationId"])
    assert [item.seed for item in items] == [7, 8, 9, 10]
    assert {(item.width_px, item.height_px, item.steps, item.guidance, item.control_scale) for item in items} == {
        (128, 128, 3, 2.0, 0.5)
    }
    assert all("a red summer dress, Pose" in item.prompt for item in items)


def test_own_key_points_are_drawn_beside_poses_of_the_library(ann: httpx2.Client, house: House) -> None:
    in_pixels = {"people": [{"pose_keypoints_2d": [300, 600, 1] * 25}], "canvas_width": 600, "canvas_height": 800}

    told = ann.post(GENERATE, json=body(house, poses=[{**OWN, "name": "  Leaning on air "}, in_pixels])).json()

    assert (told["totalPosesExpected"], told["creditCharged"]) == (8, 240)
    items = house.items(told["generationId"])
    assert [item.variation_key for item in items[4:]] == ["inline-0-v0", "inline-0-v1", "inline-1-v0", "inline-1-v1"]
    assert [item.pose_id for item in items[3:]] == [house.pose_ids[1], None, None, None, None]
    assert "person, Leaning on air, professional" in items[4].prompt
    assert items[4].people["people"][0]["pose_keypoints_2d"] == [0.1, 0.2, 0.9] * 18
    assert items[6].people["people"][0]["pose_keypoints_2d"] == [0.5, 0.75, 1] * 18
    assert all(item.people["canvas_width"] * 4 == item.people["canvas_height"] * 3 for item in items[4:])
    house.assert_books_balance(beside_api=True)


def test_own_key_points_are_enough_for_an_order(ann: httpx2.Client, house: House) -> None:
    told = ann.post(GENERATE, json=body(house, selectedPoseIds=None, poses=[OWN])).json()

    assert {item.variation_key for item in house.items(told["generationId"])} == {"inline-0-v0", "inline-0-v1"}


def test_other_key_points_under_the_same_key_are_another_order(ann: httpx2.Client, house: House) -> None:
    asked = body(house, poses=[OWN])
    first, again = (ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"}) for _ in range(2))

    other = ann.post(GENERATE, json={**asked, "poses": [{**OWN, "name": "b"}]}, headers={"Idempotency-Key": "k"})

    assert again.json() == first.json()
    assert (first.status_code, other.status_code) == (202, 422)


def test_unknown_fields_and_nulls_are_taken_as_left_out(ann: httpx2.Client, house: House) -> None:
    extras = {
        "avatarId": None, "seed": None, "textPrompt": "", "exportFormats": [], "outputFormats": None, "loras": [],
        "useBackgroundChanger": False, "backgroundMode": "ai_generate", "backgroundPrompt": "", "utm_source": {"a": 1},
    }  # fmt: skip

    assert ann.post(GENERATE, json=body(house, **extras)).status_code == 202


OWN = {"people": [{"pose_keypoints_2d": [0.1, 0.2, 0.9] * 18}], "canvas_width": 3, "canvas_height": 4}
REFUSED_FIELDS = [
    ({"batchSize": 0}, {"batchSize"}),
    ({"batchSize": 7}, {"batchSize"}),
    ({"batchSize": "2"}, {"batchSize"}),
    ({"batchSize": True}, {"batchSize"}),
    ({"batchSize": 2.5}, {"batchSize"}),
    ({"selectedPoseIds": []}, {"selectedPoseIds"}),
    ({"selectedPoseIds": None}, {"selectedPoseIds"}),
    ({"selectedPoseIds": "all"}, {"selectedPoseIds"}),
    ({"selectedPoseIds": [7]}, {"selectedPoseIds[0]"}),
    ({"selectedPoseIds": ["a\0b"]}, {"selectedPoseIds[0]"}),
    ({"selectedPoseIds": [str(n) for n in range(51)]}, {"selectedPoseIds"}),
    ({"selectedPoseIds": ["same", "same"]}, {"selectedPoseIds"}),
    ({"generationType": "GALLERY"}, {"generationType"}),
    ({"generationType": None}, {"generationType"}),
    ({"projectId": 5}, {"projectId"}),
    ({"projectId": "a\0b"}, {"projectId"}),
    ({"textPrompt": "too short"}, {"textPrompt"}),
    ({"textPrompt": "x" * 501}, {"textPrompt"}),
    ({"textPrompt": "a nude on the beach"}, {"textPrompt"}),
    ({"width": 130}, {"width"}),
    ({"width": 10**30}, {"width"}),
    ({"width": 256.5}, {"width"}),
    ({"steps": 0}, {"steps"}),
    ({"steps": 51}, {"steps"}),
    ({"guidance": -1}, {"guidance"}),
    ({"guidance": 31}, {"guidance"}),
    ({"guidance": "3"}, {"guidance"}),
    ({"controlStrength": 2.1}, {"controlStrength"}),
    ({"seed": -1}, {"seed"}),
    ({"seed": 2**32}, {"seed"}),
    ({"seed": 10**400}, {"seed"}),
    ({"loras": "film"}, {"loras"}),
    ({"loras": [{"strength": 1}]}, {"loras[0].name"}),
    ({"loras": [{"name": "film", "strength": 3}, {"name": "noir"}]},
     {"loras[0].name", "loras[0].strength", "loras[1].name"}),
    ({"loras": [{"name": "film", "strength": "1"}]}, {"loras[0].strength"}),
    ({"loras": [{"name": "film"}] * 21}, {"loras"}),
    ({"useBackgroundChanger": "yes"}, {"useBackgroundChanger"}),
    ({"exportFormats": "tiktok"}, {"exportFormats"}),
    ({"variationCount": 11}, {"variationCount"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "a dancer in the rain", "batchSize": 11}, {"batchSize"}),
    ({"poses": "all"}, {"poses"}),
    ({"poses": [7]}, {"poses[0]"}),
    ({"poses": [{}]}, {"poses[0].people"}),
    ({"poses": [{"people": []}, OWN, {"people": [{"pose_keypoints_2d": [0.5] * 7}]}]},
     {"poses[0].people", "poses[2].people[0].pose_keypoints_2d"}),
    ({"poses": [{**OWN, "canvas_width": -1}]}, {"poses[0].canvas_width"}),
    ({"poses": [{**OWN, "name": "x" * 101}]}, {"poses[0].name"}),
    ({"poses": [OWN, {**OWN, "name": "naked"}]}, {"poses[1].name"}),
    ({"poses": [OWN] * 51}, {"poses"}),
    ({"poses": [OWN] * 49}, {"selectedPoseIds"}),
    ({"generationType": "TEXT_DESCRIPTION"}, {"textPrompt"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "arms up"}, {"textPrompt"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "x" * 501}, {"textPrompt"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "naked on the beach"}, {"textPrompt"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "a dancer in the rain", "poses": [OWN]}, {"poses"}),
    ({"generationType": "TEXT_DESCRIPTION", "textPrompt": "a dancer in the rain", "variationCount": 0},
     {"variationCount"}),
    ({"steps": 99, "guidance": 99, "seed": -5}, {"steps", "guidance", "seed"}),
    ({"batchSize": 9, "textPrompt": "short", "seed": "x", "selectedPoseIds": None},
     {"batchSize", "textPrompt", "seed", "selectedPoseIds"}),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), REFUSED_FIELDS, ids=[str(wrong)[:40] for wrong, _ in REFUSED_FIELDS])
def test_a_refused_order_names_every_field_and_leaves_nothing(
    sqlite_ann: httpx2.Client, sqlite_house: House, wrong: dict[str, Any], named: set[str]
) -> None:
    asked = body(sqlite_house, **wrong)
    before = kept(sqlite_house)

    answer = sqlite_ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})

    assert (answer.status_code, fields(answer)) == (400, named)
    assert isinstance(answer.json()["error"], str)
    assert kept(sqlite_house) == before


def test_a_field_that_is_left_out_is_named_as_on_the_wire(sqlite_ann: httpx2.Client) -> None:
    answer = sqlite_ann.post(GENERATE, json={"generationType": "GALLERY_REFERENCE"})

    assert (answer.status_code, fields(answer)) == (400, {"projectId", "selectedPoseIds"})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(sqlite_ann: httpx2.Client, sqlite_house: House, number: str) -> None:
    content = (
        httpx2.Request("POST", "http://x", json=body(sqlite_house, guidance=77)).read().replace(b"77", number.encode())
    )

    answer = sqlite_ann.post(GENERATE, content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, fields(answer)) == (400, {"guidance"})


def test_loras_are_ordered_by_name_and_told_with_the_generation(
    sqlite_served: Served, sqlite_ann: httpx2.Client, sqlite_house: House
) -> None:
    folder = sqlite_served.settings.loras_folder
    folder.mkdir(parents=True)
    (folder / "film.safetensors").touch()
    asked = body(sqlite_house, loras=[{"name": "film", "strength": 0.7}])

    told = sqlite_ann.post(GENERATE, json=asked)
    refused = sqlite_ann.post(GENERATE, json=body(sqlite_house, loras=[{"name": "noir"}]))

    assert told.status_code == 202
    generation = sqlite_ann.get(f"/api/apps/pose-generator/generations/{told.json()['generationId']}").json()
    assert generation["generation"]["loras"] == [{"name": "film", "strength": 0.7}]
    assert refused.status_code == 400
    assert "There is no LoRA 'noir'; choose one of film." in refused.json()["message"]


NOT_YET = [
    ({"useBackgroundChanger": True}, "useBackgroundChanger"),
    ({"exportFormats": ["tiktok"]}, "exportFormats"),
    ({"outputFormats": ["tiktok"]}, "outputFormats"),
]


@pytest.mark.parametrize(("asked", "field"), NOT_YET, ids=[field for _, field in NOT_YET])
def test_what_is_not_built_yet_is_said_and_charged_nothing(
    sqlite_ann: httpx2.Client, sqlite_house: House, asked: dict[str, Any], field: str
) -> None:
    order = body(sqlite_house, **asked)
    before = kept(sqlite_house)

    answer = sqlite_ann.post(GENERATE, json=order, headers={"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["code"], fields(answer)) == (400, "not_available_yet", {field})
    assert "not available yet" in answer.json()["message"]
    assert kept(sqlite_house) == before


def test_too_few_credits_are_402_with_price_and_balance(ann: httpx2.Client, house: House) -> None:
    asked = body(house, selectedPoseIds=house.pose_ids, batchSize=6)
    ann.post(GENERATE, json=asked)
    before = kept(house)

    answer = ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 402
    assert (answer.json()["required"], answer.json()["balance"]) == (720, 280)
    assert kept(house) == before
    house.assert_books_balance(beside_api=True)


def test_unknown_things_in_an_order_are_404(ann: httpx2.Client, house: House) -> None:
    house.customer("bob")
    asked = body(house)
    bobs_project = house.project("bob")
    before = kept(house)

    for wrong in (
        {"projectId": "no-such-project"},
        {"projectId": bobs_project},
        {"selectedPoseIds": [house.pose_ids[0], "no-such-pose"]},
    ):
        answer = ann.post(GENERATE, json={**asked, **wrong}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    assert kept(house) == before


def test_a_repeat_with_the_same_key_is_answered_alike_and_charged_once(ann: httpx2.Client, house: House) -> None:
    asked = body(house)
    first = ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})
    after_one = kept(house)

    again = ann.post(GENERATE, json={**asked, "extra": 1}, headers={"Idempotency-Key": "k"})

    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert kept(house) == after_one


def test_the_same_key_with_another_body_is_422(ann: httpx2.Client, house: House) -> None:
    asked = body(house)
    ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})
    after_one = kept(house)

    answer = ann.post(GENERATE, json={**asked, "batchSize": 3}, headers={"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert kept(house) == after_one


def test_two_users_may_use_the_same_key(served: Served, ann: httpx2.Client, house: House) -> None:
    house.customer("bob")
    bobs = {**body(house), "projectId": house.project("bob")}
    first = ann.post(GENERATE, json=body(house), headers={"Idempotency-Key": "k"})

    second = served.client("bob").post(GENERATE, json=bobs, headers={"Idempotency-Key": "k"})

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["generationId"] != second.json()["generationId"]


def test_a_key_whose_order_was_refused_may_be_used_again(ann: httpx2.Client, house: House) -> None:
    asked = body(house)
    ann.post(GENERATE, json={**asked, "projectId": "nowhere"}, headers={"Idempotency-Key": "k"})

    assert ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"}).status_code == 202


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_a_wrong_length_is_400(sqlite_ann: httpx2.Client, sqlite_house: House, key: str) -> None:
    answer = sqlite_ann.post(GENERATE, json=body(sqlite_house), headers={"Idempotency-Key": key})

    assert (answer.status_code, fields(answer)) == (400, {"Idempotency-Key"})


def test_twins_at_once_are_one_order(served: Served, house: House) -> None:
    asked = body(house)
    clients = [served.client("ann") for _ in range(6)]

    answers = all_at_once(
        [
            lambda client=client: client.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})
            for client in clients
        ]
    )

    told = [(answer.status_code, answer.json()["generationId"]) for answer in answers]
    assert set(told) == {(202, told[0][1])}
    assert (house.balance("ann"), house.count(Generation), house.count(WorkItem)) == (880, 1, 4)
    house.assert_books_balance(beside_api=True)


def test_orders_at_once_never_spend_more_than_there_is(served: Served, house: House) -> None:
    asked = body(house, selectedPoseIds=house.pose_ids[:1], batchSize=6)  # 180 of 1000 credits
    clients = [served.client("ann") for _ in range(8)]

    answers = all_at_once([lambda client=client: client.post(GENERATE, json=asked) for client in clients])

    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [402] * 3
    assert house.balance("ann") == 100
    house.assert_books_balance(beside_api=True)


def test_an_order_rings_for_as_many_workers_as_it_could_keep_busy(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    for name in ("w1", "w2", "w3", "w4"):
        sqlite_house.worker(name, heard=datetime.now(UTC))
    bell = Bell(redis_url)
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url, recover_every_s=60)) as served:
        served.client("ann").post(GENERATE, json=body(sqlite_house, batchSize=5))

    assert bell.waiting() == 3  # ten pictures, four at a time
    bell.close()


def test_an_order_that_nobody_can_hear_yet_rings_once(
    sqlite_ann: httpx2.Client, sqlite_house: House, redis_url: str
) -> None:
    bell = Bell(redis_url)

    sqlite_ann.post(GENERATE, json=body(sqlite_house))

    assert bell.waiting() >= 1  # the reconciler may have found it waiting too
    bell.close()


def test_an_order_while_redis_is_down_is_kept_and_rung_for_later(
    ann: httpx2.Client, house: House, redis_server: PrivateRedis
) -> None:
    redis_server.stop()
    answer = ann.post(GENERATE, json=body(house))

    assert answer.status_code == 202
    assert len(house.items(answer.json()["generationId"])) == 4
    assert house.balance("ann") == 880


def test_an_order_without_any_known_profile_is_503(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    asked = body(sqlite_house)
    before = kept(sqlite_house)
    with serving(settings_for(sqlite_url, tmp_path, profile="")) as served:
        answer = served.client("ann").post(GENERATE, json=asked)

    assert (answer.status_code, answer.json()["code"]) == (503, "no_profile_known")
    assert kept(sqlite_house) == before


def test_orders_of_one_user_are_limited_and_refused_bodies_do_not_count(
    sqlite_house: House, sqlite_url: str, tmp_path: Path
) -> None:
    sqlite_house.customer("bob")
    asked, bobs = body(sqlite_house), {**body(sqlite_house), "projectId": sqlite_house.project("bob")}
    with serving(settings_for(sqlite_url, tmp_path, generate_rate="2/minute")) as served:
        ann = served.client("ann")
        wrong = [ann.post(GENERATE, json={}).status_code for _ in range(3)]
        answers = [ann.post(GENERATE, json=asked) for _ in range(3)]
        other = served.client("bob").post(GENERATE, json=bobs)

    assert wrong == [400, 400, 400]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 0 < answers[2].json()["retryAfter"] <= 60
    assert other.status_code == 202
    assert sqlite_house.balance("ann") == 760


@pytest.fixture
def postgres_served(postgres_url: str, tmp_path: Path) -> Any:
    database = Database(postgres_url)
    house = House(database)
    house.customer("ann", credits=1000)
    with serving(settings_for(postgres_url, tmp_path)) as served:
        yield served, house
    database.close()


def test_while_the_database_is_away_everything_is_503_and_then_it_goes_on(
    postgres_served: tuple[Served, House], postgres_server: PostgresServer
) -> None:
    served, house = postgres_served
    asked, ann = body(house), served.client("ann")
    before = kept(house)
    postgres_server.stop()

    answers = [
        ann.post(GENERATE, json=asked),
        ann.get(f"{ROOT}/projects"),
        served.client().post("/api/auth/login", json={"email": "ann@example.com", "password": "x"}),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "database_away")] * 3
    assert all(answer.headers["retry-after"] for answer in answers)
    postgres_server.start()
    assert kept(house) == before
    assert ann.post(GENERATE, json=asked).status_code == 202


def test_a_commit_that_fails_is_an_error_and_not_a_202(postgres_served: tuple[Served, House]) -> None:
    served, house = postgres_served
    asked = body(house)
    before = kept(house)
    with house.database.writing() as session:
        session.execute(
            text("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
        )
        session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON generations"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )

    answer = served.client("ann").post(GENERATE, json=asked)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "location" not in answer.headers
    assert kept(house) == before


def test_an_order_whose_commit_is_not_answered_is_not_said_to_have_cost_nothing(
    postgres_served: tuple[Served, House],
) -> None:
    """The connection ends inside COMMIT: nobody can tell what became of it, but the key makes a repeat safe."""
    served, house = postgres_served
    asked = body(house)
    with house.database.writing() as session:
        end_yourself = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END"
        session.execute(text(f"CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ {end_yourself} $$"))
        session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER break AFTER INSERT ON generations"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION break()"
            )
        )
    ann = served.client("ann")

    unknown = ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})
    with house.database.writing() as session:
        session.execute(text("DROP TRIGGER break ON generations"))
    again = ann.post(GENERATE, json=asked, headers={"Idempotency-Key": "k"})

    assert (unknown.status_code, unknown.json()["code"]) == (503, "outcome_unknown")
    assert unknown.headers["retry-after"]
    assert again.status_code == 202
    assert house.balance("ann") == 1000 - again.json()["creditCharged"]


def test_while_nothing_here_follows_poses_an_order_is_refused_with_the_way_out_and_nothing_is_charged(
    ann: httpx2.Client, house: House
) -> None:
    house.worker(heard=datetime.now(UTC), capabilities={"followsPoses": False})
    before = kept(house)

    answer = ann.post(GENERATE, json=body(house), headers={"Idempotency-Key": "k1"})

    assert (answer.status_code, answer.json()["code"]) == (409, "poses_not_followed")
    assert "allowPoseless: true" in answer.json()["message"]
    assert kept(house) == before
    assert ann.post(f"{GENERATE}/quote", json=body(house)).status_code == 409
    assert ann.post(GENERATE, json=body(house, allowPoseless=True)).status_code == 202


def test_a_repeat_is_answered_although_nothing_here_follows_poses_any_more(ann: httpx2.Client, house: House) -> None:
    order = body(house)
    first = ann.post(GENERATE, json=order, headers={"Idempotency-Key": "k1"})
    house.worker(heard=datetime.now(UTC), capabilities={"followsPoses": False})

    again = ann.post(GENERATE, json=order, headers={"Idempotency-Key": "k1"})

    assert (first.status_code, again.json()) == (202, first.json())
