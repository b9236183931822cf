"""`page` and `limit` of every list."""

from typing import Annotated

from fastapi import Query

from posegen.paging import MOST_ROWS, Page

DEEPEST_PAGE = 1_000_000
"""Keeps the offset a number that databases can count to."""
PageNumber = Annotated[int, Query(ge=1, le=DEEPEST_PAGE)]
PageLimit = Annotated[int, Query(ge=1, le=MOST_ROWS)]


def page_of(page: int, limit: int) -> Page:
    """Return the page asked for."""
    return Page(number=page, limit=limit)
