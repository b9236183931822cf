"""Idempotency-Keys of spending calls, whatever the call: one answer, kept long enough and not for ever."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from support.house import NOW, House, later
from support.waiting import wait_until

from posegen.database import Database
from posegen.errors import IdempotencyMismatch
from posegen.idempotency import KEPT_FOR, Repeatable, first_answer, keep_answer
from posegen.recovery import prune
from posegen.tables import IdempotencyKey


def repeatable(call: str = "generate", **asked: Any) -> Repeatable:
    return Repeatable(user_id="ann", key="k", call=call, asked=asked)


def ask(house: House, asked: Repeatable) -> dict[str, Any] | None:
    with house.database.reading() as session:
        return first_answer(session, asked, now=NOW)


def answer(house: House, asked: Repeatable) -> None:
    with house.database.writing() as session:
        assert first_answer(session, asked, now=NOW) is None
        keep_answer(session, asked, {"generationId": "g"})


def test_the_first_call_has_no_answer_yet_and_a_repeat_gets_the_firsts(house: House) -> None:
    house.customer()

    answer(house, repeatable(seed=7))

    assert ask(house, repeatable(seed=7)) == {"generationId": "g"}


@pytest.mark.parametrize("other", [repeatable(seed=8), repeatable("retry", seed=7), repeatable(seed=7, steps=3)])
def test_a_key_is_good_for_one_body_of_one_kind_of_call(house: House, other: Repeatable) -> None:
    house.customer()
    answer(house, repeatable(seed=7))

    with pytest.raises(IdempotencyMismatch):
        ask(house, other)


def test_fields_that_say_nothing_change_no_key() -> None:
    assert repeatable(seed=7).sha256 == repeatable(seed=7, loras=[], words=None).sha256
    assert repeatable(seed=0).sha256 != repeatable().sha256


def test_keys_are_forgotten_after_seven_days(house: House) -> None:
    house.customer()
    house.order("ann", 1, key="old")
    house.order("ann", 1, key="young", now=later(10))

    with house.database.writing() as session:
        prune(session, now=NOW + KEPT_FOR + timedelta(seconds=5))

    with house.database.reading() as session:
        assert [row.key for row in session.query(IdempotencyKey)] == ["young"]


def test_a_key_outlives_the_connections_it_came_through(house: House) -> None:
    house.customer(credits=1000)
    first = house.order("ann", 4, key="k", seed=7)

    again = Database(house.database.url.render_as_string(hide_password=False))
    restarted = House.__new__(House)
    restarted.database, restarted.pose_ids = again, house.pose_ids

    assert restarted.order("ann", 4, key="k", seed=7) == first
    assert house.balance("ann") == 880
    again.close()


def test_a_twin_waits_for_the_first_and_is_answered_as_it_was(postgres_house: House) -> None:
    house = postgres_house
    house.customer()
    answers: list[dict[str, Any] | None] = []
    with ThreadPoolExecutor(1) as pool, house.database.writing() as session:
        assert first_answer(session, repeatable(), now=NOW) is None
        twin = pool.submit(lambda: answers.append(ask(house, repeatable())))
        wait_until(lambda: _waits_for_a_lock(house))
        assert not answers
        keep_answer(session, repeatable(), {"generationId": "g"})
        session.commit()
        twin.result(30)

    assert answers == [{"generationId": "g"}]


def test_a_twin_of_a_call_that_was_refused_is_a_first_call(postgres_house: House) -> None:
    house = postgres_house
    house.customer()
    with ThreadPoolExecutor(1) as pool, house.database.writing() as session:
        assert first_answer(session, repeatable(), now=NOW) is None
        twin = pool.submit(lambda: ask(house, repeatable()))
        wait_until(lambda: _waits_for_a_lock(house))
        session.rollback()
        assert twin.result(30) is None


def test_a_repeat_at_the_moment_its_key_is_forgotten_is_a_first_call(postgres_house: House) -> None:
    house = postgres_house
    house.customer()
    answer(house, repeatable())
    forgotten: list[str] = []

    with house.database.writing() as session:

        def forget(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith("INSERT INTO idempotency_keys") and not forgotten:
                forgotten.append(statement)
                with house.database.writing() as other:
                    prune(other, now=NOW + KEPT_FOR + timedelta(seconds=1))

        event.listen(session.connection(), "after_cursor_execute", forget)
        assert first_answer(session, repeatable(), now=later(1)) is None
        keep_answer(session, repeatable(), {"generationId": "h"})

    assert forgotten
    assert ask(house, repeatable()) == {"generationId": "h"}


def _waits_for_a_lock(house: House) -> bool:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with house.database.reading() as session:
        return bool(session.execute(waiting).scalar_one())
