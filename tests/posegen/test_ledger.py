"""Credits: nobody spends what is not there, and nothing is paid or refunded twice."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.house import NOW, House, all_at_once

from posegen import ledger
from posegen.errors import BadInput, NotEnoughCredits, NotFound
from posegen.tables import LedgerEntry


def charge(house: House, amount: int, *, user_id: str = "ann", reference: str = "g1", part: str = "order") -> int:
    with house.database.writing() as session:
        return ledger.charge(session, user_id, amount, reference=reference, part=part, description="pictures", now=NOW)


def refund(house: House, amount: int, *, part: str = "v0") -> None:
    with house.database.writing() as session:
        ledger.refund(session, "ann", amount, reference="g1", part=part, description="not drawn", now=NOW)


def test_a_charge_lowers_the_balance_and_is_entered(house: House) -> None:
    house.customer(credits=100)

    assert charge(house, 30) == 70

    entry = next(entry for entry in house.entries("ann") if entry.type == "usage")
    assert (entry.amount_credits, entry.reference, entry.part, entry.created_at) == (-30, "g1", "order", NOW)
    house.assert_books_balance()


def test_the_whole_balance_can_be_spent(house: House) -> None:
    house.customer(credits=30)

    assert charge(house, 30) == 0


def test_more_than_the_balance_is_refused_and_changes_nothing(house: House) -> None:
    house.customer(credits=29)

    with pytest.raises(NotEnoughCredits) as refused:
        charge(house, 30)

    assert (refused.value.required, refused.value.balance) == (30, 29)
    assert house.balance("ann") == 29
    house.assert_books_balance()


def test_charging_nobody_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        charge(house, 30, user_id="nobody")


def test_eight_who_spend_at_once_get_exactly_what_the_balance_pays(house: House) -> None:
    house.customer(credits=30 * 20)

    def spend(thread: int) -> int:
        paid = 0
        for number in range(10):
            try:
                charge(house, 30, reference=f"g{thread}-{number}")
            except NotEnoughCredits:
                continue
            paid += 1
        return paid

    paid = all_at_once([lambda thread=thread: spend(thread) for thread in range(8)])

    assert sum(paid) == 20
    assert house.balance("ann") == 0
    house.assert_books_balance()


def test_the_same_charge_a_second_time_breaks_its_transaction(house: House) -> None:
    house.customer(credits=100)
    charge(house, 30)

    with pytest.raises(IntegrityError):
        charge(house, 30)

    assert house.balance("ann") == 70
    house.assert_books_balance()


def test_a_refund_gives_back(house: House) -> None:
    house.customer(credits=100)
    charge(house, 60)

    refund(house, 30)

    assert house.balance("ann") == 70
    house.assert_books_balance()


def test_the_same_refund_a_second_time_breaks_its_transaction(house: House) -> None:
    house.customer(credits=100)
    charge(house, 60)
    refund(house, 30)

    with pytest.raises(IntegrityError):
        refund(house, 30)

    assert house.balance("ann") == 70
    house.assert_books_balance()


def test_two_who_refund_the_same_at_once_refund_it_once(house: House) -> None:
    house.customer(credits=100)
    charge(house, 60)

    outcomes = all_at_once([lambda: refund(house, 30)] * 2)

    assert sum(isinstance(outcome, IntegrityError) for outcome in outcomes) == 1
    assert house.balance("ann") == 70


def test_every_grant_has_a_reference_of_its_own(house: House) -> None:
    house.customer(credits=0)

    with house.database.writing() as session:
        ledger.grant(session, "ann", 5, description="welcome", now=NOW)
        assert ledger.grant(session, "ann", 5, description="welcome", now=NOW) == 10

    assert len({entry.reference for entry in house.entries("ann")}) == 2
    house.assert_books_balance()


@pytest.mark.parametrize("amount", [0, -5])
def test_a_grant_of_nothing_or_less_is_refused(house: House, amount: int) -> None:
    house.customer(credits=10)

    with pytest.raises(BadInput), house.database.writing() as session:
        ledger.grant(session, "ann", amount, description="odd", now=NOW)

    assert house.balance("ann") == 10


def test_a_grant_to_nobody_is_not_found(house: House) -> None:
    with pytest.raises(NotFound), house.database.writing() as session:
        ledger.grant(session, "nobody", 5, description="welcome", now=NOW)


@pytest.mark.parametrize(
    ("type_", "amount"), [("usage", 30), ("usage", 0), ("refund", -30), ("bonus", 0), ("gift", 30)]
)
def test_sql_itself_refuses_an_entry_whose_sign_or_type_is_wrong(house: House, type_: str, amount: int) -> None:
    house.customer()

    with pytest.raises(IntegrityError), house.database.writing() as session:
        session.add(
            LedgerEntry(
                user_id="ann",
                type=type_,
                amount_credits=amount,
                reference="r",
                part="p",
                description="d",
                created_at=NOW,
            )
        )


def test_sql_itself_refuses_a_balance_below_zero(house: House) -> None:
    house.customer(credits=10)

    with pytest.raises(IntegrityError), house.database.writing() as session:
        session.execute(text("UPDATE users SET credit_balance = -1"))
