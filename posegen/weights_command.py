"""`posegen models`: the weights that this machine draws with, as an operator fetches, counts and checks them.

Works without torch. A worker downloads nothing by itself, so this is the one way that weights come here from the hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.checking import check_weights
from models.inventory import PartOnDisk, ProfileOnDisk, damaged_files, inventory, profile_on_disk
from models.mannequin import packaged_weights
from models.profiles import FLUX1_DEV, PROFILES, Profile, parse_sources, profile, sourced
from posegen.settings import Settings
from posegen.terminal import console, errors, read_settings, told

if TYPE_CHECKING:
    from models.pulling import RemoteFile

models_app = typer.Typer(no_args_is_help=True, help="The weights that pictures are drawn with.")

_DOWNLOADED = [known.name for known in PROFILES.values() if known.base is not None]
Name = Annotated[str, typer.Argument(help=f"One of {', '.join(_DOWNLOADED)}", metavar="PROFILE")]


@models_app.command()
def pull(
    name: Name = FLUX1_DEV.name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fetch nothing; only say what is to come.")] = False,
) -> None:
    """Fetch a profile's weights from the Hugging Face hub into its cache; goes on where it was broken off."""
    settings = read_settings()
    with told():
        known = _known(name, settings)
        with _library():
            from models.pulling import Puller
        _tell_licence(known)
        puller = Puller(token=settings.hub_token)
        pulls = puller.plan(known)
        for part in pulls:
            console.print(
                f"{part.part}: {part.repository.repo} at {part.commit[:12]}, {len(part.files)} files, "
                f"{_size(part.size_bytes)}, [bold]{_size(part.missing_bytes)}[/] to come"
            )
        if dry_run:
            return
        for part in pulls:
            folder = puller.fetch(part, _tell_file)
            console.print(f"{part.part}: {folder}", soft_wrap=True)
            if part.repository.revision is None:
                pin = f"{known.name}.{part.part}=@{part.commit}"
                console.print(f"  to draw with exactly these for ever: MODEL_SOURCES={pin}", soft_wrap=True)
        found = profile_on_disk(known, settings.models_dir)
        if found.fault is not None:
            raise found.fault
    console.print(f"{known.name} is complete.")


@models_app.command("list")
def list_models() -> None:
    """List what is here of each profile's weights, and whether it can be drawn with."""
    settings = read_settings()
    table = Table("profile", "part", "commit", "size", "where")
    with told():
        found = inventory(settings.models_dir, parse_sources(settings.model_sources))
    for one in found:
        for part in one.parts:
            table.add_row(one.profile.name, part.part, *_row(part))
    console.print(table)
    for one in found:
        _tell_state(one)


@models_app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A profile; without it, every one that is here")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read headers only, and compare no digests.")] = False,
) -> None:
    """Check weights: every header whole, every tensor there and of the right shape, every file the hub's.

    Exits with 1 when something is wrong.
    """
    settings = read_settings()
    with told():
        if name is not None:
            chosen = [profile_on_disk(_known(name, settings), settings.models_dir)]
        else:
            found = inventory(settings.models_dir, parse_sources(settings.model_sources))
            chosen = [one for one in found if all(part.folder for part in one.parts if part.part != "preview")]
            if not chosen:
                errors.print("[red]There are no weights here; fetch some with `posegen models pull`.[/]")
                raise typer.Exit(1)
    damaged = [] if quick else _damaged(chosen)
    for one in chosen:
        _tell_state(one)
    if damaged or any(one.fault is not None for one in chosen):
        raise typer.Exit(1)


def _damaged(chosen: list[ProfileOnDisk]) -> list[str]:
    """Read every file once, telling each that differs from what the hub has."""
    damaged: list[str] = []
    for folder in dict.fromkeys(part.folder for one in chosen for part in one.parts if part.folder is not None):
        compared = unknown = 0
        with console.status(f"reading {escape(str(folder))}"):
            for path, differs in damaged_files(folder):
                compared += differs is not None
                unknown += differs is None
                if differs:
                    damaged.append(str(path))
                    says = "is not what the hub has: delete it and the file it links to, and pull again."
                    errors.print(f"[red]{escape(str(path))} {says}[/]", soft_wrap=True)
        others = f", {unknown} have none to compare with" if unknown else ""
        console.print(f"{escape(str(folder))}: {compared} files compared with their digests{others}", soft_wrap=True)
    return damaged


def _known(name: str, settings: Settings) -> Profile:
    known = sourced(profile(name), parse_sources(settings.model_sources))
    if known.packaged:
        check_weights(known, packaged_weights())
        console.print(f"{name} needs nothing: its weights are part of this package, and whole.")
        raise typer.Exit(0)
    if known.base is None:
        console.print(f"{name} needs nothing: it is built here.")
        raise typer.Exit(0)
    return known


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        errors.print("[red]huggingface_hub is not installed: pip install -c constraints.txt -e '.\\[gpu]'[/]")
        raise typer.Exit(1) from error


def _tell_licence(known: Profile) -> None:
    console.print(f"[bold]{known.title}[/]: {known.licence}")
    for duty in known.duties:
        console.print(f"  - {duty}")


def _tell_file(file: "RemoteFile") -> None:
    console.print(f"  {escape(file.name)} ({_size(file.size_bytes)})")


def _tell_state(one: ProfileOnDisk) -> None:
    if one.fault is None:
        console.print(f"[green]{one.profile.name}[/]: complete")
    else:
        errors.print(f"[red]{one.profile.name}[/]: {escape(str(one.fault))}", soft_wrap=True)


def _row(part: PartOnDisk) -> tuple[str, str, str]:
    if part.folder is None:
        return "", "", f"not here ({part.repository})"
    return (part.commit or "")[:12], _size(part.size_bytes), escape(str(part.folder))


def _size(size_bytes: int) -> str:
    if size_bytes < 100_000_000:
        return f"{size_bytes / 1e6:.1f} MB"
    return f"{size_bytes / 1e9:.1f} GB"
