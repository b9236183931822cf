"""Pages of a list."""

import pytest

from posegen.paging import Page, Paged


def test_the_first_page_begins_at_the_first_row() -> None:
    assert Page(number=1, limit=24).offset == 0


def test_later_pages_begin_after_the_pages_before_them() -> None:
    assert Page(number=4, limit=10).offset == 30


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2)])
def test_a_last_page_may_be_short(total: int, pages: int) -> None:
    assert Paged(rows=(), page=Page(number=1, limit=10), total=total).total_pages == pages
