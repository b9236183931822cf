"""Key-points over HTTP: import, transforms, pictures of them, and poses for words."""

import json
from base64 import b64decode
from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image
from support.house import House
from support.serving import ROOT, Served
from support.shelving import shelve_shipped_poses

from posegen.poses import draw_pose, pose_from_openpose, pose_to_openpose, read_library

POSE = next(authored for authored in read_library().poses if authored.slug == "arms-crossed").pose
DOCUMENT = pose_to_openpose(POSE)
BODY = DOCUMENT["people"][0]["pose_keypoints_2d"]


def in_pixels(width: int, height: int, points: int = 18) -> list[float]:
    body = [value * size for value, size in zip(BODY, [width, height, 1] * 18, strict=True)]
    return body if points == 18 else body + [0.0] * 3 * (points - 18)


DIALECTS: list[tuple[dict[str, Any], str]] = [
    ({"people": [{"pose_keypoints_2d": in_pixels(640, 640)}]}, "canvas size is missing"),
    ({"people": [{"pose_keypoints_2d": in_pixels(640, 480)}], "canvas_width": 640, "canvas_height": 480}, ""),
    ({"people": [{"pose_keypoints_2d": in_pixels(640, 480)}], "canvasWidth": 640, "canvasHeight": 480}, ""),
    ({"people": [{"pose_keypoints_2d": in_pixels(640, 640, 25)}]}, "BODY_25"),
    ({"people": [{"pose_keypoints_2d": in_pixels(640, 640)[:51]}]}, "COCO-17"),
    ({"people": [{"pose_keypoints_2d": [[x, y] for x, y in zip(BODY[::3], BODY[1::3], strict=True)]}]},
     "without a confidence"),
]  # fmt: skip


@pytest.fixture
def ann(sqlite_ann: httpx2.Client) -> httpx2.Client:
    """Ann's client; nothing here asks the database for more than who she is."""
    return sqlite_ann


@pytest.mark.parametrize(("document", "assumed"), DIALECTS, ids=[assumed for _, assumed in DIALECTS])
def test_a_document_of_any_dialect_comes_back_in_ours_with_what_was_assumed(
    ann: httpx2.Client, document: dict[str, Any], assumed: str
) -> None:
    answer = ann.post(f"{ROOT}/poses/import", json=document)

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert assumed in " ".join(told["assumptions"])
    assert all(-0.5 <= value <= 1.5 for value in told["people"][0]["pose_keypoints_2d"])


def test_what_was_imported_goes_round_unchanged(ann: httpx2.Client) -> None:
    once = ann.post(f"{ROOT}/poses/import", json=DOCUMENT).json()
    twice = ann.post(f"{ROOT}/poses/import", json=once).json()

    assert twice == once == {**DOCUMENT, "assumptions": []}


def test_a_list_of_one_picture_is_that_picture(ann: httpx2.Client) -> None:
    assert ann.post(f"{ROOT}/poses/import", json=[DOCUMENT]).json()["people"] == DOCUMENT["people"]


def test_a_pose_is_mirrored_framed_and_put_beside_another_on_request(ann: httpx2.Client) -> None:
    mirrored = ann.post(f"{ROOT}/poses/import", json={**DOCUMENT, "mirror": True}).json()
    framed = ann.post(f"{ROOT}/poses/import", json={**DOCUMENT, "aspect": 0.5}).json()
    pair = ann.post(f"{ROOT}/poses/import", json={"poses": [DOCUMENT, DOCUMENT], "aspect": 1, "fit": True}).json()

    assert mirrored["people"][0]["pose_keypoints_2d"][0] == pytest.approx(1 - BODY[0])
    assert framed["canvas_height"] == 2 * framed["canvas_width"]
    assert (len(pair["people"]), pair["canvas_width"]) == (2, pair["canvas_height"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "people"),
    ({"people": []}, "people"),
    ({"people": [{}]}, "people[0].pose_keypoints_2d"),
    ({"people": [{"pose_keypoints_2d": [1, 2, 3]}]}, "people[0].pose_keypoints_2d"),
    ({"people": [{"pose_keypoints_2d": [*BODY[:-1], "x"]}]}, "people[0].pose_keypoints_2d[53]"),
    ({"people": DOCUMENT["people"] * 9}, "people"),
    ({**DOCUMENT, "canvas_width": -1}, "canvas_width"),
    ({**DOCUMENT, "aspect": 0}, "aspect"),
    ({**DOCUMENT, "aspect": 99}, "aspect"),
    ({**DOCUMENT, "mirror": "yes"}, "mirror"),
    ({"poses": [DOCUMENT, {"people": 5}]}, "poses[1].people"),
    ({"poses": [DOCUMENT] * 9}, "poses"),
]


@pytest.mark.parametrize(("document", "field"), WRONG, ids=[f"{n}-{field}" for n, (_, field) in enumerate(WRONG)])
@pytest.mark.parametrize("call", ["import", "render"])
def test_what_is_no_pose_is_refused_by_the_name_of_its_field(
    ann: httpx2.Client, call: str, document: dict[str, Any], field: str
) -> None:
    answer = ann.post(f"{ROOT}/poses/{call}", json=document)

    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(ann: httpx2.Client, number: str) -> None:
    content = json.dumps({**DOCUMENT, "canvas_width": 12345}).replace("12345", number)

    answer = ann.post(f"{ROOT}/poses/import", content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "canvas_width")


def test_a_rendered_pose_is_the_map_that_the_model_gets(ann: httpx2.Client) -> None:
    answer = ann.post(f"{ROOT}/poses/render", json={**DOCUMENT, "width": 384, "height": 256})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    picture = Image.open(BytesIO(answer.content))
    assert picture.tobytes() == draw_pose(pose_from_openpose(DOCUMENT).pose, 384, 256).tobytes()


def test_a_preview_may_be_asked_for_instead(ann: httpx2.Client) -> None:
    answer = ann.post(
        f"{ROOT}/poses/render", json={**DOCUMENT, "rendering": "preview", "mirror": True, "width": 64, "height": 96}
    )

    assert Image.open(BytesIO(answer.content)).size == (64, 96)


def test_a_picture_that_the_client_has_is_not_sent_again(ann: httpx2.Client) -> None:
    first = ann.post(f"{ROOT}/poses/render", json=DOCUMENT)

    again = ann.post(f"{ROOT}/poses/render", json=DOCUMENT, headers={"If-None-Match": first.headers["etag"]})
    other = ann.post(
        f"{ROOT}/poses/render", json={**DOCUMENT, "mirror": True}, headers={"If-None-Match": first.headers["etag"]}
    )

    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


@pytest.mark.parametrize("size", [(63, 512), (512, 2049), (-1, 512), (10**9, 10**9)])
def test_sizes_that_nobody_needs_are_refused(ann: httpx2.Client, size: tuple[int, int]) -> None:
    answer = ann.post(f"{ROOT}/poses/render", json={**DOCUMENT, "width": size[0], "height": size[1]})

    assert (answer.status_code, answer.json()["code"]) == (400, "map_size_refused")


def test_a_preview_is_kept_smaller_than_a_map(ann: httpx2.Client) -> None:
    answer = ann.post(f"{ROOT}/poses/render", json={**DOCUMENT, "rendering": "preview", "width": 1025})

    assert (answer.status_code, answer.json()["code"]) == (400, "map_size_refused")


def test_nobody_draws_without_a_login(sqlite_served: Served) -> None:
    assert sqlite_served.client().post(f"{ROOT}/poses/render", json=DOCUMENT).status_code == 401


@pytest.fixture
def shelved(sqlite_house: House) -> dict[str, str]:
    """The shipped poses on the shelf: their ids by slug."""
    return shelve_shipped_poses(sqlite_house.database)


def test_words_bring_poses_that_can_be_seen_edited_and_ordered(
    ann: httpx2.Client, sqlite_house: House, shelved: dict[str, str]
) -> None:
    answer = ann.post(f"{ROOT}/poses/suggest", json={"text": "sitting with arms crossed, looking left", "limit": 3})

    assert answer.status_code == 200, answer.text
    best, *more = answer.json()["candidates"]
    assert len(more) == 2
    assert (best["name"], best["poseId"]) == ("On a stool", shelved["stool-three-quarter"])
    assert (best["shown"], best["changed"]) == (["sitting"], ["arms crossed", "looking to the side (left)"])
    assert 0 < best["score"] <= 1
    assert "was changed to" in best["whyChosen"]
    kind, _, content = best["previewUrl"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(BytesIO(b64decode(content))).size == (256, 256)
    assert sqlite_house.balance("ann") == 1000
    again = ann.post(f"{ROOT}/poses/import", json=best).json()
    assert (again["people"], again["assumptions"]) == (best["people"], [])
    order = {"projectId": sqlite_house.project("ann"), "generationType": "GALLERY_REFERENCE", "poses": [best]}
    placed = ann.post(f"{ROOT}/generate", json={**order, "batchSize": 1})
    assert sqlite_house.items(placed.json()["generationId"])[0].people["people"] == best["people"]


def test_a_pose_that_fits_as_it_is_comes_with_its_stored_preview(
    ann: httpx2.Client, sqlite_served: Served, shelved: dict[str, str]
) -> None:
    best = ann.post(f"{ROOT}/poses/suggest", json={"text": "arms crossed"}).json()["candidates"][0]

    assert (best["poseId"], best["unchanged"]) == (shelved["arms-crossed"], True)
    assert best["previewUrl"].startswith(("/", "http"))


def test_words_that_fit_nothing_bring_the_neutral_pose(ann: httpx2.Client) -> None:
    (only,) = ann.post(f"{ROOT}/poses/suggest", json={"text": "a neon city at midnight"}).json()["candidates"]

    assert (only["neutral"], only["poseId"], only["name"]) == (True, None, "Relaxed front stand")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "text"),
        ({"text": " a "}, "text"),
        ({"text": "x" * 501}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a nude on the beach"}, "text"),
        ({"text": "arms crossed", "limit": 0}, "limit"),
        ({"text": "arms crossed", "limit": 21}, "limit"),
    ],
)
def test_what_cannot_be_suggested_for_is_refused(ann: httpx2.Client, wrong: dict[str, Any], field: str) -> None:
    answer = ann.post(f"{ROOT}/poses/suggest", json=wrong)

    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (400, [field])


def test_an_order_by_words_is_answered_and_told_like_any_other(ann: httpx2.Client, sqlite_house: House) -> None:
    order = {
        "projectId": sqlite_house.project("ann"), "generationType": "TEXT_DESCRIPTION", "selectedPoseIds": [],
        "textPrompt": "standing in Essex with arms crossed", "variationCount": 10, "batchSize": 2,
    }  # fmt: skip

    quoted = ann.post(f"{ROOT}/generate/quote", json=order).json()
    placed = ann.post(f"{ROOT}/generate", json=order)

    assert (quoted["totalPoses"], quoted["creditCost"]) == (10, 300)
    assert (placed.status_code, placed.json()["creditCharged"]) == (202, 300)
    told = ann.get(placed.headers["location"]).json()["generation"]
    assert (told["generationType"], told["batchSize"], told["totalExpectedPoses"]) == ("TEXT_DESCRIPTION", 10, 10)
    assert told["generatedPoseStructure"]["changed"] == ["arms crossed"]
    assert sqlite_house.balance("ann") == 700


@pytest.mark.parametrize(
    ("counts", "pictures"), [({}, 4), ({"batchSize": 2}, 2), ({"batchSize": 10}, 10), ({"variationCount": 1}, 1)]
)
def test_an_order_by_words_takes_either_count(
    ann: httpx2.Client, sqlite_house: House, counts: dict[str, int], pictures: int
) -> None:
    order = {"projectId": sqlite_house.project("ann"), "generationType": "TEXT_DESCRIPTION", **counts}

    placed = ann.post(f"{ROOT}/generate", json={**order, "textPrompt": "waving to the camera"}).json()

    assert placed["totalPosesExpected"] == pictures
