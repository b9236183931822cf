"""The README is true: every setting stands in its table, and nothing else does."""

import re
from pathlib import Path

from posegen.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def settings_in_readme() -> list[str]:
    table = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]


def test_every_setting_stands_in_the_table_once_and_nothing_else_does() -> None:
    assert sorted(settings_in_readme()) == sorted(name.upper() for name in Settings.model_fields)


def test_every_file_that_the_readme_links_to_exists() -> None:
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert [link for link in linked if not (Path(__file__).parents[2] / link).exists()] == []


def test_every_script_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\./(scripts/\w+|\.ci/run)", README))

    assert named
    assert [name for name in named if not (Path(__file__).parents[2] / name).exists()] == []
