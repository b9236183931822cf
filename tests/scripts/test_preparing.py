"""What the start prepares: a secret once, and a demo user that can always log in and pay."""

import stat
from pathlib import Path

import pytest
from preparing import DEMO_CREDITS, prepare_demo_user, prepare_library, shorten_logs, write_secret

from posegen import accounts, ledger
from posegen.database import Database, database_now
from posegen.storage import Storage


def test_a_secret_is_generated_once_and_for_the_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    file = tmp_path / ".env"

    generated = [write_secret(file), write_secret(file)]

    assert generated == [True, False]
    assert len(file.read_text().removeprefix("JWT_SECRET=")) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_other_lines_of_an_env_file_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    file = tmp_path / ".env"
    file.write_text("PORT=4100\nJWT_SECRET=\n")

    write_secret(file)

    assert file.read_text().startswith("PORT=4100\n")


def test_a_secret_in_the_environment_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "x" * 40)

    assert not write_secret(tmp_path / ".env")
    assert not (tmp_path / ".env").exists()


def test_the_demo_user_keeps_password_and_credits_from_start_to_start(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)

    first = prepare_demo_user(database, tmp_path / "login.json")
    second = prepare_demo_user(database, tmp_path / "login.json")
    database.close()

    assert first == second
    assert first[1] == DEMO_CREDITS


def test_a_lost_login_file_gives_the_demo_user_a_new_password(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    old, _ = prepare_demo_user(database, tmp_path / "login.json")
    (tmp_path / "login.json").unlink()

    new, _ = prepare_demo_user(database, tmp_path / "login.json")

    with database.writing() as session:
        accounts.check_login(session, email=new.email, password=new.password)
    database.close()
    assert new.password != old.password


def test_credits_are_topped_up_only_when_they_do_not_pay_the_first_order(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    login, _ = prepare_demo_user(database, tmp_path / "login.json")
    balances = []
    for left in (120, 119):
        with database.writing() as session:
            user = accounts.user_by_email(session, login.email)
            spent = ledger.balance_of(session, user.id) - left
            now = database_now(session)
            ledger.charge(session, user.id, spent, reference=f"r{left}", part="order", description="x", now=now)
        balances.append(prepare_demo_user(database, tmp_path / "login.json")[1])
    database.close()

    assert balances == [120, 119 + DEMO_CREDITS]


def test_a_long_log_is_set_aside_and_a_short_one_kept(tmp_path: Path) -> None:
    (tmp_path / "api.log").write_bytes(b"x" * 11_000_000)
    (tmp_path / "worker.log").write_bytes(b"short")

    shorten_logs(tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["api.log.1", "worker.log"]


def test_others_write_to_the_database_while_the_library_is_drawn(tmp_path: Path, sqlite_url: str) -> None:
    """As a worker does that starts meanwhile, on connections of its own."""
    database, worker = Database(sqlite_url), Database(sqlite_url)

    class Shared(Storage):
        """At some of its files, somebody else writes to the database."""

        written = 0

        def put(self, key: str, content: bytes) -> None:
            if self.written % 50 == 0:
                with worker.writing() as session:
                    session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
            self.written += 1
            super().put(key, content)

    storage = Shared(tmp_path / "storage")
    poses, _categories = prepare_library(database, storage)
    database.close()
    worker.close()

    assert storage.written == 3 * poses
