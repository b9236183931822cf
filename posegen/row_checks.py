"""The machinery of the books' promises: a check goes over one kind of row and yields whatever breaks a promise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, SQLColumnExpression, or_, select

Figure = str | int | None
Column = SQLColumnExpression[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One row that breaks a promise: its kind and id, and the figures that do not agree."""

    promise: str
    kind: str
    id: str
    figures: dict[str, Figure]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {'none' if value is None else value}" for name, value in self.figures.items())
        return f"{self.promise}: {self.kind} {self.id}: {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Something that is true of every row of a check: when it is broken, and the figures that tell."""

    name: str
    broken: ColumnElement[bool]
    figures: Mapping[str, Column]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Promises about one kind of row, tested in one pass over `source`."""

    kind: str
    id: Column
    source: FromClause
    promises: tuple[Promise, ...]

    def disagreements(self, connection: Connection) -> Iterator[Disagreement]:
        """Yield every promise that a row breaks."""
        for row in connection.execute(self._query):
            values = iter(row)
            row_id = str(next(values))
            for promise in self.promises:
                broken = next(values)
                figures = {name: _figure(next(values)) for name in promise.figures}
                if broken:
                    yield Disagreement(promise=promise.name, kind=self.kind, id=row_id, figures=figures)

    @cached_property
    def _query(self) -> Select[*tuple[Any, ...]]:
        columns: list[ColumnElement[Any]] = []
        for number, promise in enumerate(self.promises):
            columns.append(promise.broken.label(f"broken_{number}"))
            columns += [column.label(f"{name}_{number}") for name, column in promise.figures.items()]
        broken = or_(*(promise.broken for promise in self.promises))
        return select(self.id.label("row_id"), *columns).select_from(self.source).where(broken).order_by(self.id)


def _figure(value: Any) -> Figure:
    if isinstance(value, Decimal):  # PostgreSQL's sum of a BIGINT
        return int(value)
    return value if value is None or isinstance(value, str | int) else str(value)
