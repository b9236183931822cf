"""The ground on which bad inputs are tried: a running API with customers, their things, and every sort of bad login.

Names in braces stand for what only exists while it runs: `{bobs_project}` in a path or a body becomes bob's project.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
from bad_input_files import picture
from sqlalchemy import func, select

from posegen import accounts, ledger, projects, quota
from posegen.avatars import Looks, create_avatar, store_photo
from posegen.child_processes import last_lines, start_child, stop_child
from posegen.database import Database, database_now
from posegen.finishing import fail_picture
from posegen.leases import Claimant, claim_items
from posegen.library import seed_library
from posegen.migrating import migrate
from posegen.orders import Order, place_order
from posegen.ports import free_port
from posegen.poses.library_files import read_library
from posegen.queueing import Room
from posegen.storage import Storage
from posegen.tables import Avatar, Generation, LibraryPose, PoseRequest, Project, User
from posegen.uploads import check_photo

PASSWORD = "correct horse battery"
UP_WITHIN_S = 60.0
CREDITS = {"ann": 1000, "bob": 1000, "poor": 20, "uma": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A running API and what is in it."""

    url: str
    secret: str
    database: Database
    names: Mapping[str, str]

    def filled(self, value: Any) -> Any:
        """Put the real ids where the braces are."""
        if isinstance(value, str):
            for name, real in self.names.items():
                value = value.replace("{" + name + "}", real)
            return value
        if isinstance(value, dict):
            return {name: self.filled(one) for name, one in value.items()}
        return [self.filled(one) for one in value] if isinstance(value, list) else value

    def token(self, login: str | None) -> str | None:
        """Return a user's login, or a bad one: expired, forged, unsigned, endless, nameless, nobody, strong."""
        if login is None:
            return None
        now = datetime.now(UTC)
        claims: dict[str, Any] = {"userId": login, "email": f"{login}@example.com", "iat": now}
        claims["exp"] = now + timedelta(hours=-1 if login == "expired" else 1)
        if login == "endless":
            del claims["exp"]
        if login == "nameless":
            del claims["userId"]
        if login == "unsigned":
            head, body = ({"alg": "none", "typ": "JWT"}, {"userId": "ann", "exp": int(time.time()) + 3600})
            return (
                ".".join(urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in (head, body)) + "."
            )
        secret = secrets.token_hex(32) if login == "forged" else self.secret
        return jwt.encode(claims, secret, algorithm="HS512" if login == "strong" else "HS256")

    def wealth(self) -> tuple[Any, ...]:
        """Return what no refused request may change: balances, quotas, and how much of everything there is."""
        with self.database.reading() as session:
            users = session.execute(select(User.id, User.credit_balance, User.quota_used).order_by(User.id)).all()
            kinds = (Generation, Project, Avatar, PoseRequest)
            return (tuple(users), *(session.scalar(select(func.count()).select_from(kind)) for kind in kinds))


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Yield a running API on a fresh SQLite database; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="posegen-bad-inputs-") as folder:
        var = Path(folder)
        database = Database(f"sqlite:///{var / 'posegen.db'}")
        try:
            migrate(database)
            names = _furnish(database, Storage(var / "storage"))
            secret, port = secrets.token_hex(32), free_port()
            with _api(var, secret, port) as url:
                yield Ground(url=url, secret=secret, database=database, names=names)
        finally:
            database.close()


@contextmanager
def _api(var: Path, secret: str, port: int) -> Iterator[str]:
    env = {
        **os.environ,
        "VAR_DIR": str(var),
        "DATABASE_URL": f"sqlite:///{var / 'posegen.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",  # nobody listens: rates are counted in memory
        "JWT_SECRET": secret,
        "PROFILE": "tiny",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "REGISTER_RATE": "1000/hour",
        "PROFILE_RATE": "1000/hour",
        "GENERATE_RATE": "1000/minute",
        "UPLOAD_RATE": "1000/minute",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    log = var / "api.log"
    child = start_child([sys.executable, "-m", "api"], log_file=log, env=env)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, child, log)
        yield url
    finally:
        stop_child(child, timeout_s=10)


def _wait(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/api/apps/pose-generator/health", timeout=5).is_success:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise SystemExit(f"The API did not start:\n{last_lines(log)}")


def _furnish(database: Database, storage: Storage) -> dict[str, str]:
    """Fill the house: ann and bob with a project, an avatar and orders, poor, and uma of the unlimited tier."""
    library = read_library()
    hashed = accounts.hash_password(PASSWORD)
    names: dict[str, str] = {}
    with database.writing() as session:
        now = database_now(session)
        seed_library(session, storage, replace(library, poses=library.poses[:4]), now=now)
        poses = session.scalars(select(LibraryPose.id).order_by(LibraryPose.slug)).all()
        names.update({"pose": poses[0], "other_pose": poses[1]})
        for user_id, amount in CREDITS.items():
            user = User(
                id=user_id, email=f"{user_id}@example.com", password_hash=hashed, created_at=now, updated_at=now
            )
            session.add(user)
            session.flush()
            if amount:
                ledger.grant(session, user_id, amount, description="To try things", now=now)
            made = projects.create_project(
                session, user_id, name=f"{user_id}'s project", description=None, avatar_image_url=None, now=now
            )
            names[f"{user_id}s_project"] = made.id
        quota.subscribe(session, session.get_one(User, "uma"), last_day=date(2999, 12, 31), daily_quota=3, now=now)
        for user_id in ("ann", "bob"):
            stored = store_photo(storage, user_id, check_photo(picture("PNG"), file_name="photo.png"))
            avatar = create_avatar(session, user_id, stored, name="Ayu", looks=Looks(gender="female"), now=now)
            names[f"{user_id}s_avatar"] = avatar.id
    for user_id in ("ann", "bob"):
        names[f"{user_id}s_failed"] = _order(database, user_id, names)
        with database.writing() as session:
            now = database_now(session)
            claimant = Claimant(worker="somebody", profile="tiny", lease_s=600)
            for claim in claim_items(session, claimant, Room(free_rows=4), now=now):
                fail_picture(session, claim, code="bad_picture", message="It could not be drawn.", now=now)
        names[f"{user_id}s_order"] = _order(database, user_id, names, idempotency_key="used")
        with database.writing() as session:  # nobody draws it: it stays open
            claim_items(session, Claimant(worker="nobody", profile="tiny", lease_s=600), Room(free_rows=4), now=now)
    return names


def _order(database: Database, user_id: str, names: Mapping[str, str], *, idempotency_key: str | None = None) -> str:
    order = Order(project_id=names[f"{user_id}s_project"], pose_ids=(names["pose"],), variations=1)
    with database.writing() as session:
        now = database_now(session)
        placed = place_order(session, user_id, order, profile_name="tiny", idempotency_key=idempotency_key, now=now)
    return placed.generation_id
