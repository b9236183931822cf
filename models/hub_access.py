"""Whether the Hugging Face hub would give a repository's files to this token, asked without fetching anything.

Torch-free, and with the standard library's own client: the hub's library waits for ever where nobody answers, and this
is asked by people who wait.
"""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from models.errors import DownloadsOff, HubAway, LicenceNotAccepted, RepositoryUnknown, TokenMissing, TokenRefused

ANSWER_S = 5.0
"""How long the hub may be silent."""


def check_access(repo: str, *, token: str | None) -> None:
    """Return when the hub gives the repository's files to this token; nothing is fetched.

    Raises DownloadsOff, TokenMissing, TokenRefused, LicenceNotAccepted, RepositoryUnknown or HubAway.
    """
    _ask(f"/api/models/{repo}/auth-check", repo, token)


def token_role(repo: str, *, token: str) -> str:
    """Return what the token may do: `read`, `write`, or `fineGrained` for one with rights of its own.

    repo: what it is wanted for, as the errors name it. Raises the same as `check_access`.
    """
    account = json.loads(_ask("/api/whoami-v2", repo, token))
    told: Any = account
    for word in ("auth", "accessToken", "role"):
        told = told.get(word) if isinstance(told, dict) else None
    return str(told or "unknown")


def kept_token() -> str | None:
    """Return the token that `hf auth login` left here, or None."""
    from huggingface_hub import get_token

    return get_token()


def _ask(path: str, repo: str, token: str | None) -> bytes:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise DownloadsOff(repo)
    request = urllib.request.Request(f"{constants.ENDPOINT}{path}", headers={"User-Agent": "posegen"})  # noqa: S310 - the operator's hub
    if token:  # wherever the hub points to has no claim to it
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
            body: bytes = answer.read(1_000_000)
            return body
    except urllib.error.HTTPError as refused:
        with refused:
            status, code = refused.code, refused.headers.get("X-Error-Code")
        if status == 401:
            raise (TokenRefused if token else TokenMissing)(repo) from refused
        if status == 403:
            raise LicenceNotAccepted(repo) from refused
        if status == 404 or code == "RepoNotFound":
            raise RepositoryUnknown(repo, f"repository {repo} that this account can see") from refused
        raise HubAway(repo, f"the hub answered {status}") from refused
    except (OSError, HTTPException, ValueError) as error:
        raise HubAway(repo, (str(error).splitlines() or [type(error).__name__])[0]) from error
