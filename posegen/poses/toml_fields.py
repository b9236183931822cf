"""Reading fields of a TOML file so that every complaint names the file and the field.

A Fields object is one table of the file. Each read takes its key; `finish` refuses whatever nobody asked for.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posegen.poses.errors import PoseFileRefused


def read_fields(path: Path) -> "Fields":
    """Open a TOML file as fields. Raises PoseFileRefused when it cannot be read or is no TOML."""
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as e:
        raise PoseFileRefused(path, "file", f"cannot be read ({e})") from e
    except tomllib.TOMLDecodeError as e:
        raise PoseFileRefused(path, "file", f"is not valid TOML ({e})") from e
    return Fields(path, "", table)


class Fields:
    """One table of a TOML file, at `prefix` inside it."""

    def __init__(self, path: Path, prefix: str, table: Mapping[str, Any]) -> None:
        self.path = path
        self._prefix = prefix
        self._table = table
        self._taken: set[str] = set()

    def name_of(self, key: str) -> str:
        """Return the field's full path inside the file."""
        return f"{self._prefix}.{key}" if self._prefix else key

    def has(self, key: str) -> bool:
        """Say whether the table has this key."""
        return key in self._table

    def anything(self, key: str) -> Any:
        """Return the raw value, or None."""
        self._taken.add(key)
        return self._table.get(key)

    def slug(self) -> str:
        """Return the file's name without its ending, which must be lower-case words joined by hyphens."""
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.path.stem):
            raise PoseFileRefused(self.path, "file", "must be named in lower-case words joined by hyphens")
        return self.path.stem

    def text(self, key: str, least: int, most: int) -> str:
        """Return a text of `least` to `most` characters."""
        value = self._required(key)
        if not isinstance(value, str) or not least <= len(value.strip()) <= most:
            raise self._refused(key, f"must be a text of {least} to {most} characters")
        return value.strip()

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of distinct, non-empty texts."""
        value = self._required(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise self._refused(key, "must be a list of texts")
        if len(set(value)) != len(value):
            raise self._refused(key, "names something twice")
        return tuple(value)

    def choice(self, key: str, choices: Sequence[str], *, default: str | None = None) -> str:
        """Return one of the choices."""
        value = self._required(key) if default is None else self._table.get(key, default)
        self._taken.add(key)
        if value not in choices:
            raise self._refused(key, f"is {value!r}, but must be one of {', '.join(choices)}")
        return str(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        self._taken.add(key)
        value = self._table.get(key, default)
        if not isinstance(value, bool):
            raise self._refused(key, "must be true or false")
        return value

    def number(self, key: str, least: float, most: float, *, default: float | None = None) -> float:
        """Return a number from `least` to `most`."""
        value = self._required(key) if default is None else self._table.get(key, default)
        self._taken.add(key)
        return self._checked(key, value, least, most)

    def numbers(
        self, key: str, count: int, least: float, most: float, *, default: tuple[float, ...] | None = None
    ) -> tuple[float, ...]:
        """Return exactly `count` numbers, each from `least` to `most`."""
        value = self._required(key) if default is None else self._table.get(key, list(default))
        self._taken.add(key)
        if not isinstance(value, list) or len(value) != count:
            raise self._refused(key, f"must be a list of {count} numbers")
        return tuple(self._checked(key, number, least, most) for number in value)

    def table(self, key: str, *, optional: bool = False) -> "Fields":
        """Return the table under this key; an optional one may be absent and is then empty."""
        value = self._table.get(key, {}) if optional else self._required(key)
        self._taken.add(key)
        if not isinstance(value, dict):
            raise self._refused(key, "must be a table")
        return Fields(self.path, self.name_of(key), value)

    def tables(self, key: str, *, least: int) -> list["Fields"]:
        """Return the tables of a list, at least `least` of them."""
        value = self._required(key)
        if not isinstance(value, list) or len(value) < least or not all(isinstance(v, dict) for v in value):
            raise self._refused(key, f"must be at least {least} table(s), written [[{key}]]")
        return [Fields(self.path, f"{self.name_of(key)}[{index}]", table) for index, table in enumerate(value)]

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        unknown = sorted(set(self._table) - self._taken)
        if unknown:
            raise self._refused(unknown[0], "is not a field that is known here")

    def _required(self, key: str) -> Any:
        self._taken.add(key)
        if key not in self._table:
            raise self._refused(key, "is missing")
        return self._table[key]

    def _checked(self, key: str, value: object, least: float, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._refused(key, "must be a number")
        if not least <= value <= most:
            raise self._refused(key, f"is {value}, but must be from {least} to {most}")
        return float(value)

    def _refused(self, key: str, reason: str) -> PoseFileRefused:
        return PoseFileRefused(self.path, self.name_of(key), reason)
