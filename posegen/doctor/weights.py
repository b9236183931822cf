"""Weights: here and whole, what their licence asks, and whether the hub would give them to this token."""

from collections.abc import Iterator

from models.checking import check_weights
from models.errors import DownloadsOff, HubAway, ModelsError
from models.hub_access import check_access, kept_token, token_role
from models.inventory import ProfileOnDisk, profile_on_disk
from models.mannequin import packaged_weights
from models.profiles import Profile
from posegen.doctor.findings import Finding, Told
from posegen.doctor.subject import Subject

_INSTALL = "pip install -c constraints.txt -e '.[gpu]'"


def check_weights_here(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether the weights that would be drawn with are here and whole, by every header of every file."""
    drawn = subject.drawn_profile
    if subject.is_hosted:
        yield told.ok(f"{drawn.name} is drawn at an endpoint: none are needed here")
        return
    if drawn.packaged:
        yield from _packaged(drawn, told)
        return
    if drawn.base is None:
        yield told.ok(f"{drawn.name} needs none: it is built here")
        return
    try:
        found = profile_on_disk(drawn, subject.settings.models_dir)
    except ImportError:
        yield told.fail("huggingface_hub is not installed, so nothing can be looked for in its cache", _INSTALL)
        return
    if found.fault is None:
        size = sum(part.size_bytes for part in found.parts)
        says = f"{drawn.name} is complete, {size / 1e9:.1f} GB in {_folders(found)}"
        yield told.ok(f"{says}; `posegen models verify {drawn.name}` compares every byte")
    elif subject.settings.profile:
        yield told.fail(str(found.fault), f"posegen models pull {drawn.name}; or PROFILE=tiny")
    else:
        yield told.warn(
            f"{found.fault} Until then workers draw with the built-in model.", f"posegen models pull {drawn.name}"
        )


def _packaged(drawn: Profile, told: Told) -> Iterator[Finding]:
    try:
        check_weights(drawn, packaged_weights())
    except ModelsError as fault:
        yield told.fail(str(fault), "Install this version again with its weights; or PROFILE=tiny")
    else:
        yield told.ok(f"{drawn.name} is complete: its weights are part of this package")


def check_licence(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell the licence of what would be drawn with, and the duties that come with it."""
    drawn = subject.drawn_profile
    if drawn.commercial_use and not drawn.duties:
        yield told.ok(f"{drawn.title}: {drawn.licence}, free for every use")
        return
    yield told.warn(
        f"{drawn.title}: {drawn.licence}. {' '.join(drawn.duties)}",
        "Nothing here can check that you do: decide who looks after each of these duties.",
    )


def check_hub(subject: Subject, told: Told) -> Iterator[Finding]:
    """Tell whether the account of the token accepted the licences; only where weights come from the hub."""
    drawn = subject.drawn_profile
    if subject.is_hosted or drawn.base is None or drawn.controlnet is None:
        yield told.ok(f"nothing is fetched here for {drawn.name}")
        return
    try:
        token = subject.settings.hub_token or kept_token()
        for repository in (drawn.base, drawn.controlnet):
            check_access(repository.repo, token=token)
        yield told.ok(f"the hub gives {drawn.base.repo} and {drawn.controlnet.repo} to this account")
        if token:
            yield from _role(drawn.base.repo, token, told)
    except ImportError:
        yield told.fail("huggingface_hub is not installed, so no weights can be fetched", _INSTALL)
    except (DownloadsOff, HubAway) as unasked:
        remedy = "Only needed to fetch weights: run this again where the hub can be reached."
        yield told.warn(f"not asked whether the licence was accepted: {_reason(unasked)}", remedy)
    except ModelsError as refused:
        missing = _are_missing(drawn, subject)
        tell = told.fail if missing and subject.settings.profile else told.warn
        remedy = (
            f"Then: posegen models pull {drawn.name}" if missing else "The weights are here; it is needed for the next."
        )
        yield tell(str(refused), remedy)


def _role(repo: str, token: str, told: Told) -> Iterator[Finding]:
    role = token_role(repo, token=token)
    if role == "write":
        yield told.warn(
            "the token may also write to the account's repositories; fetching needs `read`",
            "Make one with read access on https://huggingface.co/settings/tokens, and set it as HF_TOKEN.",
        )
    else:
        yield told.ok(f"the token's role is {role}")


def _reason(unasked: DownloadsOff | HubAway) -> str:
    return "HF_HUB_OFFLINE is set" if isinstance(unasked, DownloadsOff) else f"the hub is away ({unasked.reason})"


def _are_missing(drawn: Profile, subject: Subject) -> bool:
    return profile_on_disk(drawn, subject.settings.models_dir).fault is not None


def _folders(found: ProfileOnDisk) -> str:
    return ", ".join(str(part.folder) for part in found.parts if part.folder is not None)
