"""People who log in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pwdlib import PasswordHash
from support.house import NOW, House, all_at_once, later

from posegen import accounts
from posegen.errors import BadInput, EmailTaken, LoginRefused, NotFound
from posegen.tables import User

PASSWORD = "correct horse battery"


def register(house: House, email: str = "ann@example.com", password: str = PASSWORD) -> User:
    hashed = accounts.hash_password(password)
    with house.database.writing() as session:
        return accounts.register(session, email=email, password=hashed, name="Ann", now=NOW)


def log_in(house: House, email: str = "ann@example.com", password: str = PASSWORD) -> User:
    with house.database.reading() as session:
        user = accounts.check_login(session, email=email, password=password)
    with house.database.writing() as session:
        return accounts.note_login(session, user.id, now=later(5))


def test_a_new_user_has_no_credits_and_no_role_but_user(house: House) -> None:
    user = register(house)

    assert (user.credit_balance, user.role, user.email) == (0, "user", "ann@example.com")
    assert PASSWORD not in str(user.password_hash)


def test_a_user_logs_in_whatever_the_case_of_the_email(house: House) -> None:
    registered = register(house, " Ann@Example.com ")

    user = log_in(house, "ANN@example.COM")

    assert (user.id, user.last_login_at) == (registered.id, later(5))


@pytest.mark.parametrize(("email", "password"), [("ann@example.com", "wrong"), ("bob@example.com", PASSWORD), ("", "")])
def test_a_wrong_login_does_not_say_what_was_wrong(house: House, email: str, password: str) -> None:
    register(house)

    with pytest.raises(LoginRefused) as refused:
        log_in(house, email, password)

    assert str(refused.value) == "E-mail or password is wrong."


def test_a_user_without_a_password_cannot_log_in(house: House) -> None:
    house.customer("ann")

    with pytest.raises(LoginRefused):
        log_in(house, "ann@example.com", "")


def test_an_email_is_taken_once(house: House) -> None:
    register(house)

    with pytest.raises(EmailTaken):
        register(house, "ANN@example.com")


def test_of_many_who_register_one_email_at_once_one_gets_it(house: House) -> None:
    outcomes = all_at_once([lambda: register(house)] * 4)

    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, EmailTaken) for outcome in outcomes) == 3


def test_a_short_password_is_refused(house: House) -> None:
    with pytest.raises(BadInput) as refused:
        register(house, password="x" * 11)

    assert [problem.field for problem in refused.value.problems] == ["password"]
    assert house.count(User) == 0


def test_a_reset_password_replaces_the_old_one(house: House) -> None:
    register(house)
    with house.database.writing() as session:
        hashed = accounts.hash_password("another long password")
        accounts.reset_password(session, email="ann@example.com", password=hashed, now=NOW)

    assert log_in(house, password="another long password")
    with pytest.raises(LoginRefused):
        log_in(house)


def test_few_passwords_are_hashed_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _CountingHashes()
    register(house)
    monkeypatch.setattr(accounts, "_HASHES", counted)

    def attempt() -> User:
        with house.database.reading() as session:
            return accounts.check_login(session, email="ann@example.com", password=PASSWORD)

    def make() -> str:
        return accounts.hash_password(PASSWORD)

    tasks: list[Callable[[], object]] = [attempt, make] * (2 * accounts.HASHED_AT_ONCE)
    answers = all_at_once(tasks)

    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert 1 <= counted.most <= accounts.HASHED_AT_ONCE


class _CountingHashes:
    """The real hashes, and how many were made or checked at once."""

    def __init__(self) -> None:
        self._real, self._lock, self._now, self.most = PasswordHash.recommended(), threading.Lock(), 0, 0

    def hash(self, password: str) -> str:
        with self._counted():
            return self._real.hash(password)

    def verify(self, password: str, hashed: str) -> bool:
        with self._counted():
            return self._real.verify(password, hashed)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


def test_an_administrator_is_made_of_a_user(house: House) -> None:
    register(house)
    with house.database.writing() as session:
        accounts.make_admin(session, email="ann@example.com", now=NOW)

    assert log_in(house).role == "admin"


def test_nobody_is_made_an_administrator(house: House) -> None:
    with house.database.writing() as session, pytest.raises(NotFound):
        accounts.make_admin(session, email="nobody@example.com", now=NOW)
