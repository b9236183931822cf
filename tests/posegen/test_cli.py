"""The posegen command, as an operator types it: real processes and the same command in this one."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select, update
from support.house import NOW, House
from typer.testing import CliRunner, Result

from posegen import accounts, cli
from posegen.bell import Bell
from posegen.database import Database
from posegen.poses.library_files import read_library
from posegen.storage import Storage
from posegen.tables import LedgerEntry, User

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JWT_SECRET", "a secret of more than thirty-two characters")
    monkeypatch.setenv("VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli.console, "width", 200)
    monkeypatch.setattr(cli.errors, "width", 200)


@pytest.fixture
def _served(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)


def posegen(*argv: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(argv), input=typed)


def add_ann() -> Result:
    return posegen("user", "add", "ann@example.com", "--password", PASSWORD, "--name", "Ann")


@pytest.mark.usefixtures("_served")
def test_an_added_user_can_log_in(sqlite_url: str) -> None:
    told = add_ann()

    assert told.exit_code == 0, told.output
    database = Database(sqlite_url)
    with database.writing() as session:
        user = accounts.check_login(session, email="ann@example.com", password=PASSWORD)
        assert (user.name, user.role, user.credit_balance) == ("Ann", "user", 0)
        assert user.id in told.output
    database.close()


@pytest.mark.usefixtures("_served")
def test_a_password_is_asked_for_twice_and_never_shown() -> None:
    told = posegen("user", "add", "ann@example.com", typed=f"{PASSWORD}\n{PASSWORD}\n")

    assert told.exit_code == 0, told.output
    assert PASSWORD not in told.output


@pytest.mark.usefixtures("_served")
def test_a_domain_error_is_one_sentence_and_exit_code_1() -> None:
    add_ann()

    told = add_ann()

    assert told.exit_code == 1
    assert "An account with this e-mail exists already" in told.output
    assert "Traceback" not in told.output


@pytest.mark.usefixtures("_served")
def test_a_reset_password_is_the_new_one(sqlite_url: str) -> None:
    add_ann()

    told = posegen("user", "reset-password", "ann@example.com", "--password", "another long password")

    assert told.exit_code == 0, told.output
    database = Database(sqlite_url)
    with database.writing() as session:
        assert accounts.check_login(session, email="ann@example.com", password="another long password")
    database.close()


@pytest.mark.usefixtures("_served")
def test_an_administrator_is_made(sqlite_url: str) -> None:
    add_ann()

    assert posegen("user", "make-admin", "Ann@Example.com").exit_code == 0

    database = Database(sqlite_url)
    with database.reading() as session:
        assert session.scalars(select(User.role)).all() == ["admin"]
    database.close()


@pytest.mark.usefixtures("_served")
def test_a_subscription_is_given_changed_and_ended() -> None:
    add_ann()

    given = posegen("user", "unlimited", "ann@example.com", "--until", "2999-12-31")
    changed = posegen("user", "unlimited", "ann@example.com", "--until", "2999-12-31", "--quota", "250")
    ended = posegen("user", "unlimited", "ann@example.com", "--until", "2020-01-01")

    assert "draws 100 pictures a day through 2999-12-31" in given.output
    assert "draws 250 pictures a day" in changed.output
    assert "pays with credits" in ended.output


@pytest.mark.usefixtures("_served")
@pytest.mark.parametrize(
    ("argv", "exit_code"),
    [
        (("nobody@example.com", "--until", "2999-12-31"), 1),
        (("ann@example.com", "--until", "2999-12-31", "--quota", "0"), 1),
        (("ann@example.com", "--until", "soon"), 2),
        (("ann@example.com",), 2),
    ],
)
def test_a_subscription_that_cannot_be_is_told(argv: tuple[str, ...], exit_code: int) -> None:
    add_ann()

    assert posegen("user", "unlimited", *argv).exit_code == exit_code


@pytest.mark.usefixtures("_served")
def test_granted_credits_are_in_the_ledger(sqlite_url: str) -> None:
    add_ann()

    told = posegen("credits", "grant", "ann@example.com", "500", "--reason", "Welcome")

    assert "500 credits" in told.output
    database = Database(sqlite_url)
    with database.reading() as session:
        entry = session.scalars(select(LedgerEntry)).one()
        assert (entry.amount_credits, entry.type, entry.description) == (500, "bonus", "Welcome")
    database.close()


@pytest.mark.usefixtures("_served")
@pytest.mark.parametrize("argv", [("ann@example.com", "0"), ("nobody@example.com", "5")])
def test_a_grant_that_cannot_be_is_told(argv: tuple[str, str]) -> None:
    add_ann()

    assert posegen("credits", "grant", *argv).exit_code == 1


@pytest.mark.usefixtures("_served")
def test_the_library_is_seeded_once_and_listed() -> None:
    first, second = posegen("library", "seed"), posegen("library", "seed")

    assert first.exit_code == second.exit_code == 0, first.output
    assert "0 poses written" in second.output
    listed = posegen("library", "list")
    assert listed.exit_code == 0, listed.output
    assert listed.output.count("beginner") + listed.output.count("intermediate") + listed.output.count("advanced") >= 12


@pytest.mark.parametrize("extra", [(), ("--preview",)])
def test_a_pose_is_drawn_to_a_file(tmp_path: Path, extra: tuple[str, ...]) -> None:
    slug = read_library().poses[0].slug

    told = posegen("library", "render", slug, "--out", "pose.png", "--width", "256", "--height", "384", *extra)

    assert told.exit_code == 0, told.output
    with Image.open(tmp_path / "pose.png") as picture:
        assert picture.size == (256, 384)
        assert picture.convert("L").getextrema()[1] > 100


def test_a_pose_that_does_not_exist_is_answered_with_those_that_do() -> None:
    told = posegen("library", "render", "no-such-pose", "--out", "x.png")

    assert told.exit_code == 1
    assert "choose one of" in told.output


def test_migrating_makes_the_embedded_database(tmp_path: Path) -> None:
    assert posegen("migrate").exit_code == 0

    assert (tmp_path / "var" / "posegen.db").exists()
    assert posegen("migrate", "--check").exit_code == 0


def test_checking_does_not_migrate() -> None:
    told = posegen("migrate", "--check")

    assert told.exit_code == 1
    assert "not up to date" in told.output


def test_a_missing_secret_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET")

    told = posegen("migrate")

    assert told.exit_code == 2
    assert "JWT_SECRET" in told.output
    assert ".env" in told.output


NO_DATABASE = ("postgresql://posegen@127.0.0.1:1/posegen", "sqlite:////proc/nowhere/posegen.db")


@pytest.mark.parametrize("url", NO_DATABASE)
@pytest.mark.parametrize(
    "argv", [("user", "make-admin", "ann@example.com"), ("migrate",), ("migrate", "--check"), ("recover",), ("sweep",)]
)
def test_a_database_that_is_away_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, url: str, argv: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    told = posegen(*argv)

    assert told.exit_code == 1
    assert told.output == "The database does not answer; nothing was charged. Please try again in a moment.\n"


@pytest.mark.parametrize("url", ["mysql://root:secret@host/db", "nonsense", "oracle+cx://secret@host"])
def test_a_database_that_is_not_known_is_refused_without_showing_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    told = posegen("migrate")

    assert told.exit_code == 2
    assert "DATABASE_URL" in told.output
    assert "secret" not in told.output


def test_a_map_that_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    told = posegen("library", "render", "arms-crossed", "--out", str(tmp_path / "map.png"), "--width", "-1")

    assert told.exit_code == 1
    assert "Traceback" not in told.output


@pytest.mark.usefixtures("_served")
def test_sweeping_deletes_old_files_without_a_row_and_names_rows_without_a_file(
    sqlite_house: House, tmp_path: Path
) -> None:
    store = Storage(tmp_path / "var" / "storage")
    old = tmp_path / "var" / "storage" / "generations" / "g1" / "old.png"
    store.put("generations/g1/old.png", b"12345")
    os.utime(old, (0, 0))

    stays = posegen("sweep")
    assert (stays.exit_code, old.exists()) == (0, True)
    assert "1 files that no row names are older than this database" in stays.output

    sqlite_house.customer("founder", since=NOW.replace(year=1969))
    would = posegen("sweep", "--dry-run")
    assert (would.exit_code, old.exists()) == (0, True)
    assert "1 of 1 files would be deleted (5 bytes)" in would.output

    done = posegen("sweep")
    assert (done.exit_code, old.exists()) == (0, False)

    sqlite_house.customer()
    sqlite_house.order("ann", 1)
    sqlite_house.deliver(sqlite_house.claim(1)[0])
    lost = posegen("sweep")
    assert lost.exit_code == 1
    assert "2 files that rows name are missing" in lost.output


@pytest.mark.usefixtures("_served")
def test_sweeping_forgets_what_the_setting_no_longer_keeps(
    monkeypatch: pytest.MonkeyPatch, sqlite_house: House
) -> None:
    monkeypatch.setenv("KEEP_GENERATIONS", "30d")
    long_ago = NOW.replace(year=2020)
    sqlite_house.customer()
    sqlite_house.order("ann", 1, now=long_ago)
    sqlite_house.fail(sqlite_house.claim(1, now=long_ago)[0], now=long_ago)

    assert "1 generations forgotten" in posegen("sweep").output
    assert sqlite_house.items() == []


@pytest.mark.usefixtures("_served")
def test_recovering_returns_the_pictures_of_dead_workers_and_rings(
    monkeypatch: pytest.MonkeyPatch, sqlite_house: House, redis_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    sqlite_house.customer()
    sqlite_house.worker(heard=datetime.now(UTC))
    sqlite_house.order("ann", 2)
    sqlite_house.claim(now=NOW.replace(year=2020))

    told = posegen("recover")

    assert "2 pictures returned to the queue, 0 given up, 1 rings" in told.output
    bell = Bell(redis_url)
    assert bell.waiting() == 1
    bell.close()


@pytest.mark.usefixtures("_served")
def test_recovering_works_without_redis(monkeypatch: pytest.MonkeyPatch, sqlite_house: House) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    sqlite_house.customer()
    sqlite_house.order("ann", 1)
    sqlite_house.claim(now=NOW.replace(year=2020))

    assert "1 pictures returned to the queue, 0 given up, 0 rings" in posegen("recover").output


def test_the_command_runs_as_a_module(tmp_path: Path) -> None:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "posegen", *argv],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "POSEGEN_PASSWORD": PASSWORD},
            timeout=60,
        )

    assert "is up to date" in run("migrate").stdout
    added = run("user", "add", "ann@example.com")
    assert added.returncode == 0, added.stderr
    assert "has 40 credits" in run("credits", "grant", "ann@example.com", "40").stdout


@pytest.mark.usefixtures("_served")
def test_reconcile_tells_that_the_books_agree_or_exits_with_1_and_names_what_does_not(sqlite_house: House) -> None:
    sqlite_house.customer("ann", credits=100)
    sqlite_house.order("ann", 1)

    honest, honest_json = posegen("reconcile"), posegen("reconcile", "--json")
    with sqlite_house.database.writing() as session:
        session.execute(update(User).values(credit_balance=71))
    broken, broken_json = posegen("reconcile"), posegen("reconcile", "--json")

    assert (honest.exit_code, honest_json.exit_code, broken.exit_code, broken_json.exit_code) == (0, 0, 1, 1)
    assert honest.output == "The books agree: 1 users, 2 entries, 1 generations, 1 items, 0 pictures.\n"
    assert (json.loads(honest_json.output)["agree"], json.loads(honest_json.output)["disagreements"]) == (True, [])
    assert "a balance is the sum of its entries: user ann: balance 71, entries 70" in broken.output
    (named,) = json.loads(broken_json.output)["disagreements"]
    assert (named["kind"], named["id"], named["figures"]) == ("user", "ann", {"balance": 71, "entries": 70})
