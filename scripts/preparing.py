"""What must be there before the first process starts: secrets, tables, poses, and a login to try the service with."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from posegen import accounts, ledger
from posegen.database import Database, database_now
from posegen.errors import LoginRefused, NotFound
from posegen.library import draw_library, seed_library
from posegen.poses.library_files import read_library
from posegen.prices import picture_price
from posegen.settings import Settings
from posegen.storage import Storage

DEMO_EMAIL = "demo@posegen.example"
DEMO_CREDITS = 3000
FIRST_ORDER_PICTURES = 4
_LOG_KEPT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoLogin:
    """The account that the first order is placed with."""

    email: str
    password: str


class SettingsRefused(Exception):
    """A setting in the environment or in .env cannot be used; the text names each."""


def write_secret(env_file: Path) -> bool:
    """Make sure that a JWT_SECRET is set, in the environment or in `env_file`; say whether one was generated."""
    if os.environ.get("JWT_SECRET"):
        return False
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    if any(line.split("=", 1)[0].strip() == "JWT_SECRET" and line.split("=", 1)[-1].strip() for line in lines):
        return False
    lines.append(f"JWT_SECRET={secrets.token_urlsafe(48)}")
    if not env_file.exists():
        env_file.touch(mode=0o600)
    env_file.write_text("\n".join(lines) + "\n")
    return True


def read_settings() -> Settings:
    """Read the environment and .env. Raises SettingsRefused."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()]
        raise SettingsRefused("; ".join(problems)) from error


def prepare_library(database: Database, storage: Storage) -> tuple[int, int]:
    """Seed the library, and return how many poses and categories come with the product."""
    files = read_library()
    draw_library(storage, files)
    with database.writing() as session:
        seed_library(session, storage, files, now=database_now(session))
    return len(files.poses), len(files.categories)


def prepare_demo_user(database: Database, login_file: Path) -> tuple[DemoLogin, int]:
    """Make sure that the demo user exists, has the password of `login_file` and can pay; return login and balance."""
    login = _read_login(login_file) or DemoLogin(email=DEMO_EMAIL, password=secrets.token_urlsafe(12))
    with database.writing() as session:
        user_id = _user_with(session, login)
        balance = ledger.balance_of(session, user_id)
        if balance < FIRST_ORDER_PICTURES * picture_price(with_background=False):
            now = database_now(session)
            balance = ledger.grant(session, user_id, DEMO_CREDITS, description="Credits to try the service", now=now)
    login_file.touch(mode=0o600)
    login_file.write_text(json.dumps(asdict(login)) + "\n")
    return login, balance


def shorten_logs(folder: Path) -> None:
    """Set logs aside that grew long; one older part of each is kept."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > _LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _user_with(session: Session, login: DemoLogin) -> str:
    now = database_now(session)
    try:
        return accounts.check_login(session, email=login.email, password=login.password).id
    except LoginRefused:
        pass
    hashed = accounts.hash_password(login.password)
    try:
        return accounts.reset_password(session, email=login.email, password=hashed, now=now).id
    except NotFound:
        return accounts.register(session, email=login.email, password=hashed, name="Demo", now=now).id


def _read_login(login_file: Path) -> DemoLogin | None:
    try:
        return DemoLogin(**json.loads(login_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
