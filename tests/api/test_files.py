"""Stored pictures by their signed links."""

from pathlib import Path

from support.house import NOW, House
from support.serving import ROOT, SECRET, Served, serving, settings_for

from posegen.storage import Links, Storage
from posegen.tables import StoredObject

KEY = "pictures/somebody/one.webp"


def store(house: House, folder: Path, content: bytes = b"RIFF....WEBP") -> None:
    Storage(folder / "storage").put(KEY, content)
    with house.database.writing() as session:
        session.add(StoredObject(key=KEY, content_type="image/webp", size_bytes=len(content), created_at=NOW))


def test_a_link_opens_without_a_login_and_with_the_type_that_sql_knows(
    served: Served, house: House, tmp_path: Path
) -> None:
    store(house, tmp_path)
    link = Links(SECRET, life_s=60).url(KEY)

    answer = served.client().get(link)

    assert (answer.status_code, answer.content) == (200, b"RIFF....WEBP")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private, max-age=")
    assert served.client().head(link).headers["content-length"] == "12"


def test_a_picture_that_the_client_has_is_not_sent_again(
    sqlite_served: Served, sqlite_house: House, tmp_path: Path
) -> None:
    store(sqlite_house, tmp_path)
    client, link = sqlite_served.client(), Links(SECRET, life_s=60).url(KEY)
    etag = client.get(link).headers["etag"]

    again = client.get(link, headers={"If-None-Match": etag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


def test_a_link_that_is_forged_or_expired_or_leads_nowhere_is_404(
    sqlite_served: Served, sqlite_house: House, tmp_path: Path
) -> None:
    store(sqlite_house, tmp_path)
    good = Links(SECRET, life_s=60).url(KEY)
    wrong = {
        "forged": Links("another secret that is long enough", life_s=60).url(KEY),
        "expired": Links(SECRET, life_s=-2 * 3600).url(KEY),
        "without a row": Links(SECRET, life_s=60).url("pictures/somebody/two.webp"),
        "changed": good.replace("/files/W", "/files/X"),
        "no token": f"{ROOT}/files/x/y",
        "a path": f"{ROOT}/files/../../etc/passwd",
    }

    statuses = {name: sqlite_served.client().get(link).status_code for name, link in wrong.items()}

    assert statuses == dict.fromkeys(wrong, 404)


def test_links_are_absolute_when_there_is_a_public_address(
    sqlite_house: House, sqlite_url: str, tmp_path: Path
) -> None:
    generation_id = sqlite_house.order("ann", 1).generation_id
    sqlite_house.deliver(sqlite_house.claim()[0])
    with serving(settings_for(sqlite_url, tmp_path, public_base_url="https://pictures.example/")) as served:
        results = served.client("ann").get(f"{ROOT}/generations/{generation_id}/results").json()["results"]

    assert results[0]["outputImageUrl"].startswith(f"https://pictures.example{ROOT}/files/")
