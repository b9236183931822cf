"""The picture store and its links."""

import os
import threading
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer
from support.house import all_at_once

from posegen import storage as storage_module
from posegen.errors import NotFound, StorageAway
from posegen.storage import FILES_PATH, Links, Storage

KEY = "pictures/a1/b2-1.png"


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def links(*, life_s: int = 3600, secret: str = "a secret", base_url: str = "") -> Links:
    return Links(secret, life_s=life_s, base_url=base_url)


def token_of(url: str) -> str:
    return url.removeprefix(f"{FILES_PATH}/").split("/")[0]


def test_what_was_put_comes_back(store: Storage) -> None:
    store.put(KEY, b"\x89PNG")

    assert store.get(KEY) == b"\x89PNG"


def test_what_was_never_put_is_not_found(store: Storage) -> None:
    with pytest.raises(NotFound):
        store.get(KEY)


def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: Storage) -> None:
    store.put(KEY, b"x")

    store.delete(KEY)
    store.delete(KEY)

    with pytest.raises(NotFound):
        store.get(KEY)


def test_a_reader_sees_a_whole_file_or_the_one_before_it(store: Storage, tmp_path: Path) -> None:
    versions = [bytes([number]) * 2_000_000 for number in range(2)]
    store.put(KEY, versions[0])
    done = threading.Event()
    odd: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen = store.get(KEY)
            if seen not in versions:
                odd.append(len(seen))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        store.put(KEY, versions[number % 2])
    done.set()
    reader.join()

    assert odd == []
    assert [path.name for path in (tmp_path / "storage").rglob("*") if path.is_file()] == ["b2-1.png"]


def test_a_folder_that_goes_with_its_last_file_never_takes_a_new_file_with_it(store: Storage) -> None:
    def store_and_delete(name: str) -> None:
        for _ in range(150):
            store.put(f"generations/g1/{name}.png", b"x")
            assert store.get(f"generations/g1/{name}.png") == b"x"
            store.delete(f"generations/g1/{name}.png")

    answers = all_at_once([lambda name=name: store_and_delete(name) for name in "abc"])

    assert answers == [None] * 3


def test_every_name_of_a_new_path_is_on_the_disk_when_put_returns(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was just made, by us or by another process, is lost in a power cut until its folder is synced."""
    synced: list[Path] = []

    def note(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "storage"

    store.put(KEY, b"x")

    assert synced == [root / KEY, root / "pictures/a1", root / "pictures", root]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "file.png",
        "/etc/passwd",
        "../x/y",
        "a/../../etc/passwd",
        "a/..",
        "a//b",
        "a/./b",
        "a/b/",
        "a\\b/c",
        "a/b\x00.png",
        "a/b\n",
        "a/ b",
        "a/%2e%2e/b",
        "a/.hidden",
        "ä/b",
    ],
)
def test_a_key_that_is_no_plain_path_is_refused(store: Storage, key: str) -> None:
    for use in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(ValueError, match="storage key"):
            use()


def test_a_store_that_cannot_be_written_is_away(tmp_path: Path) -> None:
    store = Storage(tmp_path / "storage")
    (tmp_path / "storage" / "pictures").write_text("a file where a folder should be")

    with pytest.raises(StorageAway) as away:
        store.put(KEY, b"x")

    assert away.value.key == KEY


def test_a_link_names_its_key_and_ends_with_the_files_name() -> None:
    url = links().url(KEY)

    assert url.startswith(f"{FILES_PATH}/")
    assert url.endswith("/b2-1.png")
    assert links().read(token_of(url))[0] == KEY


def test_a_link_to_another_origin_is_absolute() -> None:
    assert links(base_url="https://pictures.example").url(KEY).startswith(f"https://pictures.example{FILES_PATH}/")


def test_a_picture_keeps_its_link_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = 1_800_000_000 // 3600 * 3600
    urls = []
    for moment in (hour + 1, hour + 3599, hour + 3601):
        monkeypatch.setattr(storage_module, "time", lambda moment=moment: float(moment))
        urls.append(links().url(KEY))

    assert urls[0] == urls[1] != urls[2]


@pytest.mark.parametrize("life_s", [1, 60, 3600, 86400])
def test_a_link_works_for_at_least_its_life_and_then_expires(monkeypatch: pytest.MonkeyPatch, life_s: int) -> None:
    made = 1_800_000_000.9
    monkeypatch.setattr(storage_module, "time", lambda: made)
    token = token_of(links(life_s=life_s).url(KEY))

    monkeypatch.setattr(storage_module, "time", lambda: made + life_s - 1)
    assert links(life_s=life_s).read(token)[1].total_seconds() > 0
    monkeypatch.setattr(storage_module, "time", lambda: made + life_s + 3601)
    with pytest.raises(NotFound, match="expired"):
        links(life_s=life_s).read(token)


def test_a_link_of_another_secret_is_refused() -> None:
    with pytest.raises(NotFound):
        links(secret="mine").read(token_of(links(secret="theirs").url(KEY)))


def test_a_token_for_another_purpose_is_refused() -> None:
    token = URLSafeSerializer("a secret", salt="something.else").dumps([KEY, 2**40])

    with pytest.raises(NotFound):
        links().read(str(token))


def test_a_changed_link_is_refused_wherever_it_was_changed() -> None:
    token = token_of(links().url(KEY))

    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        changed = token[:place] + other + token[place + 1 :]
        try:
            key, _left = links().read(changed)
        except NotFound:
            continue
        # The last character of base64 has bits that mean nothing.
        assert (key, place) == (KEY, len(token) - 1)


@pytest.mark.parametrize("token", ["", ".", "x", "a.b.c", "é.ü", "\ud800", "A" * 5000])
def test_nonsense_is_no_link(token: str) -> None:
    with pytest.raises(NotFound):
        links().read(token)
