"""What every command of `posegen` shares: where it prints, how it reads the settings, how it tells a refusal."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console

from models.errors import ModelsError
from posegen.errors import PosegenError
from posegen.poses.errors import PoseError
from posegen.settings import Settings

console = Console()
errors = Console(stderr=True)


def read_settings() -> Settings:
    """Return the settings, or end with 2 and what is wrong with each."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            errors.print(f"[red]{'.'.join(str(part) for part in problem['loc']).upper()}[/]: {problem['msg']}")
        errors.print("Set it in the environment or in .env (./scripts/start writes one).")
        raise typer.Exit(2) from error


@contextmanager
def told() -> Iterator[None]:
    """Print an error of ours as its sentence and exit with 1."""
    try:
        yield
    except (PosegenError, PoseError, ModelsError) as error:
        errors.print(f"[red]{error}[/]", soft_wrap=True)
        raise typer.Exit(1) from error
