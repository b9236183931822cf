"""Pages of a list, as the contract counts them: from 1, at most 100 a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST_ROWS = 100
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page is asked for."""

    number: int
    limit: int

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.number - 1) * self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Generic[T_co]):
    """One page of rows, and how many rows there are in all."""

    rows: Sequence[T_co]
    page: Page
    total: int

    @property
    def total_pages(self) -> int:
        """Pages in all."""
        return -(-self.total // self.page.limit)
