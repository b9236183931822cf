"""Fetching a profile's weights from the Hugging Face hub into the hub library's own cache, when an operator asks.

Only the files that are needed, and only what is not there yet. The library keeps nothing of a file that broke off, and
the largest have 10 GB, so large files are fetched here with the library's own `http_get`, into `<digest>.incomplete`
beside the cache's blobs: the next try goes on where this one stopped. Each is compared with the hub's SHA-256 before
it gets its name; the library then finds it in its cache and lays the snapshot out.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import httpx2
from filelock import FileLock
from huggingface_hub import HfApi, constants, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # its own list forgets it

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
from models.profiles import Profile, Repository
from models.weights import BASE, CONTROLNET, FILES, PREVIEW

SPARE_BYTES = 1_000_000_000
"""What has to stay free on the disk after everything was fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file on the hub. sha256: of those that are kept apart for their size, None for small text."""

    name: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """What one repository would give: the commit, its needed files, and how many bytes of them are still to come."""

    part: str
    repository: Repository
    commit: str
    files: tuple[RemoteFile, ...]
    missing_bytes: int

    @property
    def size_bytes(self) -> int:
        """All needed files together."""
        return sum(file.size_bytes for file in self.files)


class Puller:
    """Fetches from one hub into one cache. token None: the one that `hf auth login` keeps, if there is one."""

    def __init__(self, *, token: str | None = None, endpoint: str | None = None, cache: Path | None = None) -> None:
        self.cache = cache or Path(constants.HF_HUB_CACHE)
        self._token = token or get_token()
        self._endpoint = endpoint or constants.ENDPOINT
        self._api = HfApi(endpoint=self._endpoint, token=self._token or False)

    def plan(self, profile: Profile) -> list[Pull]:
        """Ask the hub what there is to fetch. Fetches nothing.

        Raises DownloadFailed, DiskTooFull too: before the first byte, not after the last that fits.
        """
        parts = [(part, getattr(profile, part)) for part in (BASE, CONTROLNET, PREVIEW)]
        pulls = [self._plan(part, repository) for part, repository in parts if repository is not None]
        self._check_room(pulls)
        return pulls

    def fetch(self, pull: Pull, told: Callable[[RemoteFile], None] = lambda file: None) -> Path:
        """Fetch what a plan found missing; return the snapshot's folder. told: called before each large file.

        Raises DownloadFailed. Whatever came so far is kept.
        """
        repo = pull.repository.repo
        with self._faults_named(pull.repository):
            for file in pull.files:
                if file.sha256 is not None and not self._blob(repo, file.sha256).exists():
                    told(file)
                    self._fetch_large(pull, file, file.sha256)
            return Path(
                snapshot_download(
                    repo,
                    revision=pull.repository.revision,
                    allow_patterns=list(FILES[pull.part]),
                    cache_dir=self.cache,
                    endpoint=self._endpoint,
                    token=self._token or False,
                )
            )

    def _plan(self, part: str, repository: Repository) -> Pull:
        with self._faults_named(repository):
            info = self._api.model_info(repository.repo, revision=repository.revision, files_metadata=True)
            self._api.auth_check(repository.repo)  # what is in a gated repository is told to everybody, the files not
        siblings = {file.rfilename: file for file in info.siblings or ()}
        needed = [name for name in sorted(siblings) if any(fnmatchcase(name, pattern) for pattern in FILES[part])]
        if not any(name.endswith(".safetensors") for name in needed):
            raise RepositoryUnknown(repository.repo, f"safetensors file that is needed in {repository}")
        files = tuple(_remote_file(siblings[name]) for name in needed)
        missing_bytes = sum(self._missing_bytes(repository.repo, str(info.sha), file) for file in files)
        return Pull(part=part, repository=repository, commit=str(info.sha), files=files, missing_bytes=missing_bytes)

    def _missing_bytes(self, repo: str, commit: str, file: RemoteFile) -> int:
        if file.sha256 is None:
            there = (self._own(repo) / "snapshots" / commit / file.name).exists()
            return 0 if there else file.size_bytes
        blob = self._blob(repo, file.sha256)
        if blob.exists():
            return 0
        partial = _partial(blob)
        return file.size_bytes - (partial.stat().st_size if partial.exists() else 0)

    def _check_room(self, pulls: list[Pull]) -> None:
        needed_bytes = sum(pull.missing_bytes for pull in pulls)
        there = next(folder for folder in (self.cache, *self.cache.absolute().parents) if folder.exists())
        free_bytes = shutil.disk_usage(there).free
        if needed_bytes and needed_bytes + SPARE_BYTES > free_bytes:
            most = max(pulls, key=lambda pull: pull.missing_bytes)
            raise DiskTooFull(most.repository.repo, str(self.cache), needed_bytes, free_bytes)

    def _fetch_large(self, pull: Pull, file: RemoteFile, sha256: str) -> None:
        repo = pull.repository.repo
        blob = self._blob(repo, sha256)
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock = self.cache / ".locks" / self._own(repo).name / f"{sha256}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if blob.exists():  # somebody else fetched it meanwhile
                return
            partial = _partial(blob)
            with partial.open("ab") as out:
                http_get(
                    hf_hub_url(repo, file.name, revision=pull.commit, endpoint=self._endpoint),
                    out,
                    resume_size=out.tell(),
                    headers=build_hf_headers(token=self._token or False),
                    expected_size=file.size_bytes,
                    displayed_filename=file.name,
                )
            if sha256_of(partial) != sha256:
                partial.unlink()
                raise DamagedDownload(repo, file.name)
            partial.rename(blob)

    def _own(self, repo: str) -> Path:
        return self.cache / repo_folder_name(repo_id=repo, repo_type="model")

    def _blob(self, repo: str, sha256: str) -> Path:
        return self._own(repo) / "blobs" / sha256

    @contextmanager
    def _faults_named(self, repository: Repository) -> Iterator[None]:
        """Turn what the hub and its library answer into ours."""
        repo = repository.repo
        try:
            yield
        except DownloadFailed:
            raise
        except OfflineModeIsEnabled as e:
            raise DownloadsOff(repo) from e
        except RevisionNotFoundError as e:
            raise RepositoryUnknown(repo, f"revision {repository.revision} of {repo}") from e
        except (
            LocalEntryNotFoundError
        ) as e:  # the library's word for: asked the hub, got nothing, and nothing is cached
            raise HubAway(repo, _reason(e.__cause__ or e)) from e
        except EntryNotFoundError as e:
            raise RepositoryUnknown(repo, f"file of {repo} that was in its list") from e
        except HfHubHTTPError as e:
            raise self._refused(repo, e) from e
        except httpx2.HTTPError as e:
            raise HubAway(repo, _reason(e)) from e
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise DiskTooFull(repo, str(self.cache), 0, 0) from e
            raise HubAway(repo, _reason(e)) from e

    def _refused(self, repo: str, error: HfHubHTTPError) -> DownloadFailed:
        status = error.response.status_code
        if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
            return RepositoryUnknown(repo, f"repository {repo} that this account can see")
        if status == 401:
            return TokenRefused(repo) if self._token else TokenMissing(repo)
        if status == 403:
            return LicenceNotAccepted(repo)
        return HubAway(repo, f"the hub answered {status}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remote_file(told: RepoSibling) -> RemoteFile:
    return RemoteFile(
        name=told.rfilename, size_bytes=told.size or 0, sha256=None if told.lfs is None else told.lfs.sha256
    )


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
