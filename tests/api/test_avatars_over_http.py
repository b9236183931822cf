"""Avatars over HTTP: forms with photos in, links to checked photos out."""

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from support.house import House
from support.photos import animation, claimed_png, photo
from support.serving import Served, serving, settings_for
from support.waiting import wait_until

from posegen.tables import Avatar, StoredObject
from posegen.uploads import MOST_BYTES, MOST_IN_LINE, Photo, check_photo

ROOT = "/api/apps/avatar-creator"
AVATARS, FOLDERS = f"{ROOT}/avatars", f"{ROOT}/projects"
AVATAR = {
    "id", "name", "baseImageUrl", "thumbnailUrl", "gender", "ageRange", "ethnicity", "bodyType", "hairStyle",
    "hairColor", "eyeColor", "skinTone", "style", "createdAt",
}  # fmt: skip
LOOKS = {"name": " Mia ", "gender": "female", "ageRange": "30-39", "hairColor": "red", "style": ""}
PHOTO = photo(width=512, height=512)


def send(
    client: httpx2.Client,
    path: str = AVATARS,
    *,
    content: bytes = PHOTO,
    name: str = "me.jpg",
    form: dict[str, Any] | None = None,
) -> httpx2.Response:
    looks = LOOKS if form is None else form
    return client.post(path, files={"image": (name, content, "image/jpeg")}, data=looks)


def stored_files(served: Served) -> list[Path]:
    return [path for path in served.settings.storage_dir.rglob("*") if path.is_file()]


def test_an_avatar_is_created_shown_changed_and_deleted(served: Served, ann: httpx2.Client) -> None:
    created = send(ann)

    assert created.status_code == 201
    avatar = created.json()["avatar"]
    assert set(avatar) >= AVATAR
    looks = {key: avatar[key] for key in ("name", "gender", "ageRange", "hairColor", "style", "ethnicity")}
    assert looks == {**LOOKS, "name": "Mia", "style": None, "ethnicity": None}
    assert ann.get(AVATARS).json() == {"avatars": [avatar]}
    assert ann.get(f"{AVATARS}/{avatar['id']}").json() == {"avatar": avatar}

    changed = ann.put(f"{AVATARS}/{avatar['id']}", json={"name": "Mia B.", "hairColor": "", "gender": None}).json()
    assert (changed["avatar"]["name"], changed["avatar"]["hairColor"]) == ("Mia B.", None)
    assert changed["avatar"]["gender"] == "female"

    assert ann.delete(f"{AVATARS}/{avatar['id']}").json()["success"] is True
    assert ann.get(f"{AVATARS}/{avatar['id']}").status_code == 404
    assert ann.delete(f"{AVATARS}/{avatar['id']}").status_code == 404
    assert stored_files(served) == []


def test_the_photo_and_its_thumbnail_open_without_a_login(sqlite_served: Served) -> None:
    avatar = send(sqlite_served.client("ann"), content=photo("PNG", width=512, height=700)).json()["avatar"]
    nobody = sqlite_served.client()

    shown = {field: nobody.get(avatar[field]) for field in ("baseImageUrl", "thumbnailUrl")}

    assert shown["baseImageUrl"].headers["content-type"] == "image/png"
    assert Image.open(BytesIO(shown["baseImageUrl"].content)).size == (512, 700) == (avatar["width"], avatar["height"])
    assert shown["thumbnailUrl"].headers["content-type"] == "image/webp"
    assert "ann" not in avatar["baseImageUrl"]


def test_another_photo_replaces_the_first(sqlite_served: Served) -> None:
    ann = sqlite_served.client("ann")
    first = send(ann).json()["avatar"]

    second = ann.put(f"{AVATARS}/{first['id']}/image", files={"image": ("b.png", photo("PNG"), "image/png")}).json()

    assert second["avatar"]["width"] == 640
    assert ann.get(second["avatar"]["baseImageUrl"]).status_code == 200
    assert ann.get(first["baseImageUrl"]).status_code == 404
    assert len(stored_files(sqlite_served)) == 2


REFUSED = {
    "gif": ({"content": b"GIF89a" + b"\0" * 200}, 415, "image"),
    "text-as-jpeg": ({"content": b"hello"}, 415, "image"),
    "cut-off": ({"content": PHOTO[: len(PHOTO) // 2]}, 400, "image"),
    "too-small": ({"content": photo(width=511, height=600)}, 400, "image"),
    "too-wide": ({"content": photo("PNG", width=4097, height=600)}, 400, "image"),
    "animated": ({"content": animation("WEBP")}, 400, "image"),
    "bomb": ({"content": claimed_png(60_000, 60_000)}, 413, "image"),
    "too-heavy": ({"content": PHOTO + b"\0" * MOST_BYTES}, 413, "image"),
    "path": ({"name": "../../etc/cron.d/x.jpg"}, 400, "image"),
    "no-name": ({"form": {"gender": "male"}}, 400, "name"),
    "empty-name": ({"form": {"name": "  "}}, 400, "name"),
    "long-look": ({"form": {"name": "Mia", "style": "x" * 101}}, 400, "style"),
    "nul": ({"form": {"name": "Mi\0a"}}, 400, "name"),
    "wording": ({"form": {"name": "Mia", "bodyType": "nude"}}, 400, "bodyType"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_refused_avatar_leaves_no_row_and_no_file(sqlite_served: Served, sqlite_house: House, wrong: str) -> None:
    asked, status, field = REFUSED[wrong]

    answer = send(sqlite_served.client("ann"), **asked)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (status, field)
    assert answer.json()["error"] == answer.json()["message"]
    assert (sqlite_house.count(Avatar), sqlite_house.count(StoredObject), stored_files(sqlite_served)) == (0, 0, [])


def test_an_avatar_needs_a_form_with_a_photo(sqlite_served: Served) -> None:
    ann = sqlite_served.client("ann")

    for answer in (ann.post(AVATARS, json=LOOKS), ann.post(AVATARS, data=LOOKS), ann.post(AVATARS)):
        assert answer.status_code == 400
        assert "image" in {one["field"] for one in answer.json()["errors"]}


def test_a_form_far_over_the_limit_is_not_read(sqlite_served: Served) -> None:
    answer = send(sqlite_served.client("ann"), content=PHOTO + b"\0" * (MOST_BYTES + 1024 * 1024))

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_photos_are_limited_by_the_minute(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, upload_rate="2/minute")) as served:
        ann = served.client("ann")
        statuses = [send(ann, content=content).status_code for content in (PHOTO, b"rubbish", PHOTO)]

    assert statuses == [201, 415, 429]


def test_somebody_elses_avatars_do_not_exist(sqlite_served: Served, sqlite_house: House) -> None:
    sqlite_house.customer("bob")
    ann, bob = sqlite_served.client("ann"), sqlite_served.client("bob")
    avatar_id = send(ann).json()["avatar"]["id"]
    folder_id = ann.post(FOLDERS, json={"name": "Models"}).json()["project"]["id"]

    statuses = [
        bob.get(f"{AVATARS}/{avatar_id}").status_code,
        bob.put(f"{AVATARS}/{avatar_id}", json={"name": "Mine"}).status_code,
        bob.delete(f"{AVATARS}/{avatar_id}").status_code,
        bob.get(f"{FOLDERS}/{folder_id}").status_code,
        bob.put(f"{FOLDERS}/{folder_id}", json={"name": "Mine"}).status_code,
        bob.delete(f"{FOLDERS}/{folder_id}").status_code,
        send(bob, f"{FOLDERS}/{folder_id}/avatars/upload").status_code,
        send(bob, form={"name": "Mia", "projectId": folder_id}).status_code,
    ]

    assert statuses == [404] * 8
    assert bob.get(AVATARS).json() == {"avatars": []}
    assert bob.get(FOLDERS).json() == {"projects": []}
    assert len(stored_files(sqlite_served)) == 2


def test_folders_hold_avatars_and_leave_them_behind(ann: httpx2.Client) -> None:
    created = ann.post(FOLDERS, json={"projectName": "Models", "description": "For May"})
    assert created.status_code == 201
    folder = created.json()["project"]
    assert (folder["name"], folder["projectName"], folder["avatars"]) == ("Models", "Models", [])
    path = f"{FOLDERS}/{folder['id']}"

    uploaded = send(ann, f"{path}/avatars/upload")

    assert uploaded.status_code == 201
    avatar = uploaded.json()["avatar"]
    assert avatar["projectId"] == folder["id"]
    assert ann.get(path).json()["project"]["avatars"] == [avatar]
    changed = ann.put(path, json={"name": "Faces"}).json()["project"]
    assert (changed["name"], changed["description"], changed["avatars"]) == ("Faces", "For May", [avatar])
    assert ann.get(FOLDERS).json()["projects"] == [changed]
    assert ann.delete(path).json()["success"] is True
    assert ann.get(FOLDERS).json() == {"projects": []}
    assert ann.get(AVATARS).json()["avatars"] == [{**avatar, "projectId": None}]


def test_everything_wants_a_login(sqlite_served: Served) -> None:
    nobody = sqlite_served.client()
    calls = [("GET", AVATARS), ("POST", AVATARS), ("PUT", f"{AVATARS}/x"), ("PUT", f"{AVATARS}/x/image"),
             ("DELETE", f"{AVATARS}/x"), ("GET", FOLDERS), ("POST", FOLDERS), ("DELETE", f"{FOLDERS}/x"),
             ("POST", f"{FOLDERS}/x/avatars/upload")]  # fmt: skip

    assert {nobody.request(method, path).status_code for method, path in calls} == {401}


def test_when_many_photos_are_checked_more_are_told_to_come_back(
    sqlite_served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go = threading.Event()

    def slowly(content: bytes, *, file_name: str | None) -> Photo:
        may_go.wait(30)
        return check_photo(content, file_name=file_name)

    monkeypatch.setattr("api.photos.check_photo", slowly)
    more = 3
    with ThreadPoolExecutor(MOST_IN_LINE + more) as pool:
        begun = [pool.submit(send, sqlite_served.client("ann")) for _ in range(MOST_IN_LINE + more)]
        refused = wait_until(lambda: done if len(done := [one for one in begun if one.done()]) == more else None)
        others = sqlite_served.client("ann").get(AVATARS).status_code
        may_go.set()
        answers = sorted(one.result().status_code for one in begun)

    for one in refused:
        assert (one.result().status_code, one.result().json()["code"]) == (503, "too_busy")
        assert int(one.result().headers["Retry-After"]) >= 1
    assert others == 200
    assert answers == [201] * MOST_IN_LINE + [503] * more


def test_an_avatar_has_loras_of_its_own(sqlite_served: Served) -> None:
    folder = sqlite_served.settings.loras_folder
    folder.mkdir(parents=True)
    (folder / "film.safetensors").touch()
    ann = sqlite_served.client("ann")
    avatar = send(ann).json()["avatar"]
    at = f"{AVATARS}/{avatar['id']}"

    changed = ann.put(at, json={"loras": [{"name": "film"}]})
    refused = ann.put(at, json={"name": "Other", "loras": [{"name": "noir"}]})

    assert avatar["loras"] == []
    assert changed.json()["avatar"]["loras"] == [{"name": "film", "strength": 1.0}]
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "loras[0].name")
    assert ann.put(at, json={"hairColor": "red"}).json()["avatar"]["loras"] == [{"name": "film", "strength": 1.0}]
    assert ann.get(at).json()["avatar"]["name"] == "Mia"
    assert ann.put(at, json={"loras": []}).json()["avatar"]["loras"] == []
