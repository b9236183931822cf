"""The `posegen` command: what an operator does by hand. Each command is one domain call in one transaction."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from alembic.util import CommandError
from rich.table import Table
from sqlalchemy.orm import Session

from posegen import accounts, ledger, migrating, quota
from posegen.announcing import Announcer
from posegen.backup_command import backup, restore
from posegen.bell import Bell
from posegen.books import read_books
from posegen.database import Database, database_now
from posegen.doctor.command import doctor
from posegen.library import LibraryQuery, draw_library, list_poses, seed_library
from posegen.paging import MOST_ROWS, Page
from posegen.poses.drawing import draw_pose
from posegen.poses.library_files import read_library
from posegen.poses.preview import draw_preview
from posegen.reconciler import reconcile_once
from posegen.retention import Pruned, prune_generations
from posegen.storage import Links, Storage
from posegen.sweeping import Swept, missing_files
from posegen.sweeping import sweep as sweep_files
from posegen.terminal import console, errors, read_settings, told
from posegen.top_command import top
from posegen.weights_command import models_app

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate a Posegen service.")
user_app = typer.Typer(no_args_is_help=True, help="People who log in.")
credits_app = typer.Typer(no_args_is_help=True, help="Credits.")
library_app = typer.Typer(no_args_is_help=True, help="The pose library.")
app.add_typer(user_app, name="user")
app.add_typer(credits_app, name="credits")
app.add_typer(library_app, name="library")
app.add_typer(models_app, name="models")
app.command("doctor")(doctor)
app.command("backup")(backup)
app.command("restore")(restore)
app.command("top")(top)

Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="POSEGEN_PASSWORD")
]


@contextmanager
def _database() -> Iterator[Database]:
    database = Database(read_settings().sql_url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _writing() -> Iterator[Session]:
    with told(), _database() as database, database.writing() as session:
        yield session


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only compare the database with the tables in code.")] = False,
    new: Annotated[str | None, typer.Option(help="Write a version that brings it to the tables in code.")] = None,
) -> None:
    """Bring the database to the newest tables."""
    with told(), _database() as database:
        try:
            if check:
                migrating.check(database)
            elif new:
                migrating.new_version(database, new)
            else:
                migrating.migrate(database)
        except CommandError as error:
            errors.print(f"[red]{error}[/]")
            raise typer.Exit(1) from error
    console.print("A version was written." if new and not check else "The database is up to date.")


@app.command()
def recover() -> None:
    """Return the pictures of dead workers to the queue and ring for everything that waits."""
    settings = read_settings()
    links = Links(settings.jwt_secret.get_secret_value(), life_s=settings.url_life_s)
    bell = Bell(settings.bell_url)
    with told(), _database() as database:
        done = reconcile_once(Announcer(database, bell, links), witness_since=None)
    bell.close()
    console.print(f"{done.requeued} pictures returned to the queue, {done.failed} given up, {done.rung} rings.")


@app.command()
def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; only say what would be deleted.")] = False,
) -> None:
    """Forget generations older than KEEP_GENERATIONS, delete day-old files that no row names, report missing files.

    Exits with 1 when a row names a file that is missing.
    """
    settings = read_settings()
    storage = Storage(settings.storage_dir)
    pruned, swept = Pruned(), Swept()
    with told(), _database() as database:
        if settings.kept_for is not None:
            for _ in prune_generations(database, storage, pruned, keep=settings.kept_for, dry_run=dry_run):
                pass
        for _ in sweep_files(database, storage, swept, dry_run=dry_run):
            pass
        missing = list(missing_files(database, storage))
    would = "would be " if dry_run else ""
    console.print(f"{pruned.generations} generations {would}forgotten.")
    console.print(f"{swept.deleted} of {swept.files} files {would}deleted ({swept.deleted_bytes} bytes).")
    if swept.older:
        errors.print(f"[yellow]{swept.older} files that no row names are older than this database; they stay.[/]")
    for key in missing:
        errors.print(f"[red]missing[/] {key}", soft_wrap=True)
    if missing:
        errors.print(f"[red]{len(missing)} files that rows name are missing; restore them from a backup.[/]")
        raise typer.Exit(1)


@app.command()
def reconcile(
    as_json: Annotated[bool, typer.Option("--json", help="Answer as one JSON object.")] = False,
) -> None:
    """Prove that balances, entries, orders, pictures and quotas agree; safe while orders go on.

    Exits with 1 when anything disagrees, and names it with its figures.
    """
    with told(), _database() as database:
        books = read_books(database)
    if as_json:
        typer.echo(json.dumps({"agree": books.agree, **asdict(books)}))
    else:
        for disagreement in books.disagreements:
            errors.print(str(disagreement), style="red", soft_wrap=True, markup=False)
        read = ", ".join(f"{number} {name}" for name, number in books.rows.items())
        console.print(f"The books {'agree' if books.agree else 'do not agree'}: {read}.", soft_wrap=True)
    if not books.agree:
        raise typer.Exit(1)


@user_app.command("add")
def add_user(email: str, password: Password, name: Annotated[str | None, typer.Option()] = None) -> None:
    """Create a user with no credits."""
    with told():
        hashed = accounts.hash_password(password)
    with _writing() as session:
        user = accounts.register(session, email=email, password=hashed, name=name, now=database_now(session))
        console.print(f"{user.email} is user {user.id}.")


@user_app.command("reset-password")
def reset_password(email: str, password: Password) -> None:
    """Set a user's password."""
    with told():
        hashed = accounts.hash_password(password)
    with _writing() as session:
        accounts.reset_password(session, email=email, password=hashed, now=database_now(session))
        console.print(f"{email} has a new password.")


@user_app.command("make-admin")
def make_admin(email: str) -> None:
    """Give a user the administrator's role."""
    with _writing() as session:
        accounts.make_admin(session, email=email, now=database_now(session))
        console.print(f"{email} is an administrator.")


@user_app.command("unlimited")
def unlimited(
    email: str,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day (UTC); a past one ends it.")],
    daily_quota: Annotated[int | None, typer.Option("--quota", help="Pictures a day; left out: as it is.")] = None,
) -> None:
    """Let a user draw a daily quota of pictures without credits, and before those who pay by the picture."""
    with _writing() as session:
        user = accounts.user_by_email(session, email)
        now = database_now(session)
        told = quota.subscribe(session, user, last_day=until.date(), daily_quota=daily_quota, now=now)
        if told.active:
            console.print(f"{email} draws {told.daily_quota} pictures a day through {until:%Y-%m-%d}.")
        else:
            console.print(f"{email} pays with credits.")


@credits_app.command("grant")
def grant(email: str, amount: int, reason: Annotated[str, typer.Option()] = "Granted by an operator") -> None:
    """Give a user credits."""
    with _writing() as session:
        user = accounts.user_by_email(session, email)
        balance = ledger.grant(session, user.id, amount, description=reason, now=database_now(session))
        console.print(f"{email} has {balance} credits.")


@library_app.command("seed")
def seed() -> None:
    """Write the poses that come with the product into the database. Safe to repeat."""
    storage = Storage(read_settings().storage_dir)
    files = read_library()
    with told():
        draw_library(storage, files)
    with _writing() as session:
        changed = seed_library(session, storage, files, now=database_now(session))
        console.print(f"{changed} poses written.")


@library_app.command("list")
def list_library(search: Annotated[str | None, typer.Option()] = None) -> None:
    """List the library's poses."""
    with _writing() as session:
        found = list_poses(session, LibraryQuery(search=search, sort="name"), Page(number=1, limit=MOST_ROWS))
        table = Table("slug", "name", "category", "difficulty", "people")
        for pose in found.rows:
            people = str(len(pose.people["people"]))
            table.add_row(pose.slug, pose.name, pose.category.display_name, pose.difficulty, people)
    console.print(table)


@library_app.command("render")
def render(
    slug: str,
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    width: Annotated[int, typer.Option()] = 1024,
    height: Annotated[int, typer.Option()] = 1024,
    preview: Annotated[bool, typer.Option("--preview", help="The picture for people, not the control map.")] = False,
) -> None:
    """Draw a pose of the library as a control map."""
    with told():
        poses = {pose.slug: pose for pose in read_library().poses}
        if slug not in poses:
            errors.print(f"[red]There is no pose {slug}; choose one of: {', '.join(sorted(poses))}.[/]")
            raise typer.Exit(1)
        draw = draw_preview if preview else draw_pose
        draw(poses[slug].pose, width, height).save(out)
    console.print(str(out))


def main() -> None:
    """Run the command."""
    app(prog_name="posegen")
