"""Weights come from a hub in one piece, or not at all: against a real server that gates, refuses and breaks off."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from support.hub import MEMBER, STRANGER, Hub, Repo, serving_hub

from models import pulling
from models.checking import check_weights
from models.errors import (
    DamagedDownload,
    DiskTooFull,
    DownloadFailed,
    DownloadsOff,
    HubAway,
    LicenceNotAccepted,
    RepositoryUnknown,
    TokenMissing,
    TokenRefused,
)
from models.inventory import damaged_files, profile_on_disk
from models.profiles import FLUX1_DEV, Profile, Repository, sourced
from models.pulling import Puller
from models.tiny import tiny_folder
from models.weights import find_weights

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
CONTROLNET_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
PROFILE: Profile = sourced(
    FLUX1_DEV, {("flux1-dev", "base"): Repository(repo="a/base"), ("flux1-dev", "controlnet"): Repository(repo="a/net")}
)


@pytest.fixture
def hub(models_dir: Path) -> Iterator[Hub]:
    """A hub with the built-in model as "FLUX.1-dev": gated, and with files in it that are not needed."""
    tiny = tiny_folder(models_dir)
    with serving_hub() as served:
        base = Repo.of_folder(tiny / "base", gated=True)
        base.files |= {"flux1-dev.safetensors": b"the same once more", "README.md": b"# FLUX"}
        base.files["text_encoder/flax_model.msgpack"] = b"not needed"
        served.repos = {
            "a/base": base,
            "a/net": Repo({name: (tiny / "controlnet" / name).read_bytes() for name in CONTROLNET_FILES}),
            "madebyollin/taef1": Repo({"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"preview"}),
        }
        yield served


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, which is where weights are then looked for, too."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(pulling, "get_token", lambda: None)  # not the one of whoever runs the tests
    return tmp_path / "hub"


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library waits a second before each of its own five tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda s: None)


def pull(hub: Hub, cache: Path, token: str | None = MEMBER) -> None:
    puller = Puller(token=token, endpoint=hub.url, cache=cache)
    for part in puller.plan(PROFILE):
        puller.fetch(part)


def test_what_was_pulled_is_complete_and_is_found(hub: Hub, cache: Path, tmp_path: Path) -> None:
    pull(hub, cache)
    folders = find_weights(PROFILE, tmp_path)
    check_weights(PROFILE, folders)
    assert folders.base.name == hub.repos["a/base"].commit
    assert [differs for _, differs in damaged_files(folders.base)] == [False] * 13


def test_only_the_needed_files_are_fetched(hub: Hub, cache: Path) -> None:
    pull(hub, cache)
    fetched = {path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path}
    assert not [path for path in fetched if path.endswith(("flux1-dev.safetensors", ".md", ".msgpack"))]
    assert any(path.endswith(TRANSFORMER) for path in fetched)


def test_a_plan_counts_what_is_still_to_come(hub: Hub, cache: Path) -> None:
    puller = Puller(token=MEMBER, endpoint=hub.url, cache=cache)
    base = puller.plan(PROFILE)[0]
    assert base.missing_bytes == base.size_bytes > 1_000_000
    assert len(base.files) == 13
    puller.fetch(base)
    again = puller.plan(PROFILE)
    assert [part.missing_bytes > 0 for part in again] == [False, True, True]


def test_a_second_pull_fetches_nothing(hub: Hub, cache: Path) -> None:
    pull(hub, cache)
    hub.asked.clear()
    pull(hub, cache)
    assert [path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path] == []


@pytest.mark.usefixtures("no_waiting")
def test_a_line_that_breaks_off_for_a_moment_is_picked_up(hub: Hub, cache: Path, tmp_path: Path) -> None:
    chunk = huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE  # the library keeps whole chunks only
    hub.cut_after[TRANSFORMER] = chunk + 1000
    pull(hub, cache)
    assert hub.ranges(TRANSFORMER) == [None, f"bytes={chunk}-"]
    check_weights(PROFILE, find_weights(PROFILE, tmp_path))


@pytest.mark.usefixtures("no_waiting")
def test_a_pull_that_was_cut_goes_on_where_it_stopped(hub: Hub, cache: Path, tmp_path: Path) -> None:
    whole = hub.repos["a/base"].files[TRANSFORMER]
    digest = hashlib.sha256(whole).hexdigest()
    partial = cache / "models--a--base" / "blobs" / f"{digest}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(whole[:1_000_000])
    hub.cut_after[TRANSFORMER] = 0
    with pytest.raises(HubAway, match="run the same command again, it goes on where it stopped"):
        pull(hub, cache)
    assert partial.stat().st_size == 1_000_000
    hub.cut_after.clear()
    hub.asked.clear()
    pull(hub, cache)
    assert hub.ranges(TRANSFORMER) == ["bytes=1000000-"]
    assert not partial.exists()
    check_weights(PROFILE, find_weights(PROFILE, tmp_path))


def test_a_file_that_arrives_damaged_is_thrown_away(hub: Hub, cache: Path) -> None:
    whole = hub.repos["a/base"].files[TRANSFORMER]
    blob = cache / "models--a--base" / "blobs" / hashlib.sha256(whole).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(b"x" * 1000)  # the beginning is of something else
    with pytest.raises(DamagedDownload, match="arrived damaged and was thrown away"):
        pull(hub, cache)
    assert list(blob.parent.glob(f"{blob.name}*")) == []
    pull(hub, cache)
    assert blob.read_bytes() == whole


@pytest.mark.parametrize(
    ("token", "error", "told"),
    [
        (None, TokenMissing, r"accept it on https://huggingface.co/a/base, make a token .* set it as HF_TOKEN"),
        ("hf_made_up", TokenRefused, "does not accept the token"),
        (STRANGER, LicenceNotAccepted, r"has not accepted the licence of a/base: .* https://huggingface.co/a/base"),
    ],
)
def test_whoever_may_not_have_the_weights_is_told_what_to_do(
    hub: Hub, cache: Path, token: str | None, error: type[DownloadFailed], told: str
) -> None:
    with pytest.raises(error, match=told):
        pull(hub, cache, token)
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda hub: hub.repos.pop("a/base"), "no repository a/base that this account can see"),
        (
            lambda hub: hub.repos["a/net"].files.pop("diffusion_pytorch_model.safetensors"),
            "no safetensors file .* a/net",
        ),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub: Hub, cache: Path, spoil: Callable[[Hub], object], told: str) -> None:
    spoil(hub)
    with pytest.raises(RepositoryUnknown, match=f"{told}.*check MODEL_SOURCES"):
        pull(hub, cache)


def test_a_revision_that_is_not_there_is_named(hub: Hub, cache: Path) -> None:
    pinned = sourced(PROFILE, {("flux1-dev", "base"): Repository(repo="a/base", revision="0" * 40)})
    with pytest.raises(RepositoryUnknown, match="no revision 0000"):
        Puller(token=MEMBER, endpoint=hub.url, cache=cache).plan(pinned)


@pytest.mark.usefixtures("no_waiting")
def test_a_hub_that_is_away_is_told(cache: Path) -> None:
    with pytest.raises(HubAway, match="broke off"):
        Puller(token=MEMBER, endpoint="http://127.0.0.1:9", cache=cache).plan(PROFILE)


def test_nothing_is_fetched_offline(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadsOff, match="HF_HUB_OFFLINE is set"):
        pull(hub, cache)
    assert hub.asked == []


def test_a_disk_that_is_too_full_is_told_before_the_first_byte(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "SPARE_BYTES", 10**18)
    with pytest.raises(DiskTooFull, match=r"GB are to come: make room, or set HF_HOME"):
        pull(hub, cache)
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path]


def test_half_a_snapshot_is_incomplete_and_not_drawn_with(hub: Hub, cache: Path, tmp_path: Path) -> None:
    pull(hub, cache)
    next((cache / "models--a--base").rglob(TRANSFORMER)).unlink()
    found = profile_on_disk(PROFILE, tmp_path)
    assert found.fault is not None
    assert (found.fault.code, found.parts[0].folder) == ("weights_incomplete", None)
    assert "has only some of a/base" in str(found.fault)


def test_a_changed_byte_is_found_by_the_hubs_digest(hub: Hub, cache: Path, tmp_path: Path) -> None:
    pull(hub, cache)
    folder = find_weights(PROFILE, tmp_path).base
    blob = (folder / TRANSFORMER).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    check_weights(PROFILE, find_weights(PROFILE, tmp_path))  # no header tells
    assert [path.name for path, differs in damaged_files(folder) if differs] == [Path(TRANSFORMER).name]


def test_a_folder_that_the_library_filled_is_compared_too(hub: Hub, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "flux1-dev" / "controlnet"
    huggingface_hub.snapshot_download("a/net", local_dir=own, endpoint=hub.url, token=False)
    commit = hub.repos["a/net"].commit
    assert [differs for _, differs in damaged_files(own)] == [False, False]
    assert profile_on_disk(PROFILE, tmp_path).parts[1].commit == commit
    shutil.rmtree(own / ".cache")
    assert [differs for _, differs in damaged_files(own)] == [None, None]
