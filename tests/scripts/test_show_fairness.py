"""Fairness over real orders: a customer with 300 pictures never keeps five with 4 waiting, whoever has priority."""

from collections.abc import Collection, Iterator
from itertools import groupby

import pytest
from show_fairness import HEAD_START, LONG, ROWS, SHORT, SHORT_PICTURES, Served, serve, show

from posegen.database import Database
from posegen.queueing import TIER_SHARE

SHORT_TOTAL = len(SHORT) * SHORT_PICTURES


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def last_second(served: list[Served], users: Collection[str]) -> int:
    return max(one.second for one in served if one.user_id in users)


def longest_run(served: list[Served], users: Collection[str]) -> int:
    return max(len(list(run)) for inside, run in groupby(served, lambda one: one.user_id in users) if inside)


def test_five_small_orders_are_done_in_their_turns_though_300_pictures_came_first(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    served = serve(database, unlimited=())

    assert len(served) == 300 + SHORT_TOTAL
    turns = SHORT_PICTURES * (len(SHORT) + 1)
    assert last_second(served, SHORT) <= HEAD_START + turns // ROWS
    show("Everybody pays", served)
    assert "S: 300 pictures, came at  0 s" in capsys.readouterr().out


def test_priority_of_the_long_order_leaves_every_fourth_picture_to_the_others(sqlite_database: Database) -> None:
    served = serve(sqlite_database, unlimited={LONG})

    while_all_wait = [one for one in served if HEAD_START <= one.second <= last_second(served, SHORT)]
    assert longest_run(while_all_wait, {LONG}) == TIER_SHARE
    assert last_second(served, SHORT) <= HEAD_START + SHORT_TOTAL
    firsts = [one.user_id for one in while_all_wait if one.user_id in SHORT][: len(SHORT)]
    assert sorted(firsts) == sorted(SHORT), "each of the others is served before one is served twice"


def test_priority_of_the_small_orders_still_leaves_the_long_one_every_fourth_picture(sqlite_database: Database) -> None:
    served = serve(sqlite_database, unlimited=set(SHORT))

    while_all_wait = [one for one in served if HEAD_START <= one.second <= last_second(served, SHORT)]
    assert longest_run(while_all_wait, SHORT) == TIER_SHARE
    assert last_second(served, SHORT) <= HEAD_START + (SHORT_TOTAL * 4 // TIER_SHARE) // ROWS + 1
