"""What is counted: only what was committed."""

import pytest
from support.house import House

from posegen.tallies import CLAIMS, happened


def count(again: str = "false") -> float:
    return CLAIMS.labels(profile="tiny", again=again)._value.get()


def test_what_is_rolled_back_is_not_counted(sqlite_house: House) -> None:
    def claim_and_break() -> None:
        with sqlite_house.database.writing() as session:
            happened(session, CLAIMS, profile="tiny", again="false")
            raise ZeroDivisionError

    before = count()
    with pytest.raises(ZeroDivisionError):
        claim_and_break()
    assert count() == before


def test_what_is_committed_is_counted_once(sqlite_house: House) -> None:
    sqlite_house.customer()
    sqlite_house.order("ann", 2)
    before = count()
    sqlite_house.claim()
    assert count() == before + 2
