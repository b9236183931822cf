"""What is on this machine of every profile's weights: where, how much, of which commit, and whether it is all well.

Torch-free. Digests are compared where the hub left them: the names of the blobs in its library's cache, and the notes
that the library keeps beside files it fetched into a folder.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.checking import faults
from models.errors import ModelsError, WeightsMissing
from models.profiles import PROFILES, Profile, Repository, Sources, sourced
from models.weights import BASE, CONTROLNET, PREVIEW, find_part, find_weights

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOnDisk:
    """One repository's files here. commit: None in a folder that nobody noted it for; fault: why it is of no use."""

    part: str
    repository: Repository
    folder: Path | None
    commit: str | None
    size_bytes: int
    fault: ModelsError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOnDisk:
    """A profile's parts, and the first fault of all that it needs; None: it can be drawn with."""

    profile: Profile
    parts: tuple[PartOnDisk, ...]
    fault: ModelsError | None


def inventory(models_dir: Path, sources: Sources) -> list[ProfileOnDisk]:
    """Look at every profile that has weights to fetch."""
    downloaded = [sourced(known, sources) for known in PROFILES.values() if known.base is not None]
    return [profile_on_disk(known, models_dir) for known in downloaded]


def profile_on_disk(profile: Profile, models_dir: Path) -> ProfileOnDisk:
    """Look at one profile."""
    parts = tuple(
        _part_on_disk(profile, part, models_dir)
        for part in (BASE, CONTROLNET, PREVIEW)
        if getattr(profile, part) is not None
    )
    fault = next((part.fault for part in parts if part.fault is not None and part.part != PREVIEW), None)
    if fault is None:
        fault = next(iter(faults(profile, find_weights(profile, models_dir))), None)
    return ProfileOnDisk(profile=profile, parts=parts, fault=fault)


def _part_on_disk(profile: Profile, part: str, models_dir: Path) -> PartOnDisk:
    fault: ModelsError | None = None
    folder: Path | None = None
    try:
        folder = find_part(profile, part, models_dir)
    except WeightsMissing as e:
        fault = e
    return PartOnDisk(
        part=part,
        repository=getattr(profile, part),
        folder=folder,
        commit=None if folder is None else _commit(folder),
        size_bytes=0 if folder is None else sum(path.stat().st_size for path in files_in(folder)),
        fault=fault,
    )


def files_in(folder: Path) -> Iterator[Path]:
    """Go through the files of a folder or snapshot, links followed, without what the hub's library keeps for itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".cache" not in path.relative_to(folder).parts:
            yield path


def damaged_files(folder: Path) -> Iterator[tuple[Path, bool | None]]:
    """Read every file and compare it with the hub's digest: (file, whether it differs); None: there is no digest."""
    for path in files_in(folder):
        noted = _noted_digest(folder, path)
        yield path, None if noted is None else digest(path, noted) != noted


def digest(path: Path, like: str) -> str:
    """Return a file's digest of the kind that `like` is of: SHA-256, or for short ones git's SHA-1 of a blob."""
    if len(like) == 64:
        state = hashlib.sha256()
    else:
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def _noted_digest(folder: Path, path: Path) -> str | None:
    target = path.resolve()
    in_cache = target.parent.name == "blobs"
    noted = target.name if in_cache else _note(folder, path.relative_to(folder), 1) or ""
    return noted if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", noted) else None


def _commit(folder: Path) -> str | None:
    if folder.parent.name == "snapshots":
        return folder.name
    return next((commit for path in files_in(folder) if (commit := _note(folder, path.relative_to(folder), 0))), None)


def _note(folder: Path, name: Path, line: int) -> str | None:
    """Read what the hub's library noted beside a file it put into a folder: the commit, the digest, the time."""
    note = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    try:
        return note.read_text().splitlines()[line].strip()
    except (OSError, IndexError):
        return None
