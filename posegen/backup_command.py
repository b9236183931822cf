"""`posegen backup` and `posegen restore`, as an operator types them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from posegen.backup import make_backup, restore_backup
from posegen.books import read_books
from posegen.database import Database
from posegen.storage import Storage
from posegen.sweeping import missing_files
from posegen.terminal import console, errors, read_settings, told


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, on another disk at best.")],
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Copy the pictures too, or leave them to another tool.")
    ] = True,
) -> None:
    """Keep the database and every picture in a folder; safe while orders go on."""
    settings = read_settings()
    with told():
        database = Database(settings.sql_url)
        try:
            storage = Storage(settings.storage_dir) if pictures else None
            for done in make_backup(database, storage, folder):
                console.print(f"Kept {done}.")
        finally:
            database.close()
    console.print(f"{escape(str(folder))} is whole. Keep JWT_SECRET elsewhere: it is not in it.", soft_wrap=True)


def restore(folder: Annotated[Path, typer.Argument(help="What `posegen backup` made.")]) -> None:
    """Lay a backup into an empty database and an empty picture store, while nothing else of Posegen runs.

    Then proves the books and looks for every file that they name; exits with 1 when anything is wrong.
    """
    settings = read_settings()
    with told():
        database = Database(settings.sql_url)
        try:
            storage = Storage(settings.storage_dir)
            for done in restore_backup(folder, database, storage):
                console.print(f"Restored {done}.")
            books = read_books(database)
            missing = list(missing_files(database, storage))
        finally:
            database.close()
    for disagreement in books.disagreements:
        errors.print(str(disagreement), style="red", soft_wrap=True, markup=False)
    for key in missing:
        errors.print(f"[red]missing[/] {key}", soft_wrap=True)
    if missing or not books.agree:
        raise typer.Exit(1)
    read = ", ".join(f"{number} {name}" for name, number in books.rows.items())
    console.print(f"The books agree and every file is there: {read}.", soft_wrap=True)
