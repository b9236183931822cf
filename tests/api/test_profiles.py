"""One's own profile, tokens of a studio's own backend, and what changed the balance."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from support.house import NOW, House, all_at_once, later
from support.serving import SECRET, Served, serving, settings_for

from posegen import accounts
from posegen.finishing import cancel_generation
from posegen.tables import User

PROFILE = "/api/auth/profile"
HISTORY = "/api/credits/history"
PASSWORD = "correct horse battery"
NEW = "another long password"


@pytest.fixture
def bob(served: Served) -> httpx2.Client:
    """Bob, who registered with a password."""
    return registered(served)


@pytest.fixture
def sqlite_bob(sqlite_served: Served) -> httpx2.Client:
    """The same on SQLite only."""
    return registered(sqlite_served)


def registered(served: Served) -> httpx2.Client:
    client = served.client()
    body = {"email": "bob@example.com", "password": PASSWORD, "name": "Bob"}
    token = client.post("/api/auth/register", json=body).json()["data"]["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def log_in(client: httpx2.Client, email: str, password: str) -> int:
    return client.post("/api/auth/login", json={"email": email, "password": password}).status_code


def signed(**claims: Any) -> dict[str, str]:
    claims.setdefault("exp", datetime.now(UTC) + timedelta(hours=1))
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


def test_a_name_changes_without_a_password(bob: httpx2.Client) -> None:
    answer = bob.put(PROFILE, json={"name": " Robert ", "email": "BOB@example.com"})

    assert answer.status_code == 200
    told = answer.json()
    assert told["success"] is True
    assert told["user"] == told["data"]["user"] == bob.get(PROFILE).json()["user"]
    assert (told["user"]["name"], told["user"]["email"]) == ("Robert", "bob@example.com")
    assert jwt.decode(told["token"], SECRET, algorithms=["HS256"])["userId"] == told["user"]["id"]


def test_what_is_left_out_stays(sqlite_bob: httpx2.Client) -> None:
    before = sqlite_bob.get(PROFILE).json()["user"]

    assert sqlite_bob.put(PROFILE, json={"name": None, "extra": 1}).json()["user"] == before


def test_a_new_email_and_password_are_what_the_next_login_needs(bob: httpx2.Client) -> None:
    changes = {"email": "Robert@Example.com", "currentPassword": PASSWORD, "newPassword": NEW}

    told = bob.put(PROFILE, json=changes).json()

    assert told["user"]["email"] == "robert@example.com"
    assert jwt.decode(told["token"], SECRET, algorithms=["HS256"])["email"] == "robert@example.com"
    assert log_in(bob, "robert@example.com", NEW) == 200
    assert log_in(bob, "robert@example.com", PASSWORD) == 401
    assert log_in(bob, "bob@example.com", NEW) == 401


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"newPassword": NEW}, "currentPassword"),
        ({"newPassword": NEW, "currentPassword": "wrong"}, "currentPassword"),
        ({"email": "robert@example.com"}, "currentPassword"),
        ({"email": "robert@example.com", "currentPassword": "wrong"}, "currentPassword"),
        ({"newPassword": "short", "currentPassword": PASSWORD}, "newPassword"),
        ({"email": "nobody", "currentPassword": PASSWORD}, "email"),
        ({"name": 7}, "name"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_a_refused_change_is_400_and_changes_nothing(
    sqlite_bob: httpx2.Client, changes: dict[str, Any], field: str
) -> None:
    before = sqlite_bob.get(PROFILE).json()["user"]

    answer = sqlite_bob.put(PROFILE, json={"name": "Robert", **changes})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert sqlite_bob.get(PROFILE).json()["user"] == before
    assert log_in(sqlite_bob, "bob@example.com", PASSWORD) == 200


def test_an_email_of_somebody_else_is_409(bob: httpx2.Client) -> None:
    answer = bob.put(PROFILE, json={"name": "x", "email": "ann@example.com", "currentPassword": PASSWORD})

    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert bob.get(PROFILE).json()["user"]["name"] == "Bob"


def test_an_account_without_a_password_changes_its_email_elsewhere(sqlite_served: Served) -> None:
    answer = sqlite_served.client("ann").put(PROFILE, json={"email": "new@example.com", "currentPassword": ""})

    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "This account logs in elsewhere; change its e-mail and password there.",
    )


def test_a_password_that_changes_meanwhile_ends_the_older_change(house: House) -> None:
    with house.database.writing() as session:
        session.get_one(User, "ann").password_hash = accounts.hash_password(PASSWORD)
    changes = []
    for name in ("first password", "second password"):
        with house.database.reading() as session:
            proven = accounts.prove(session, "ann", password=PASSWORD, email=None, new_password=True)
        changes.append(accounts.ProfileChanges(password=accounts.hash_password(name), proven=proven))

    def change(wanted: accounts.ProfileChanges) -> User:
        with house.database.writing() as session:
            return accounts.change_profile(session, "ann", wanted, now=NOW)

    outcomes = all_at_once([lambda one=one: change(one) for one in changes])  # type: ignore[misc]

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "User"]


def test_profile_changes_are_limited(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, profile_rate="1/hour")) as served:
        ann = served.client("ann")
        answers = [ann.put(PROFILE, json={"name": "A"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["retryAfter"] > 3000


@pytest.fixture
def provisioning(house: House, database_url: str, tmp_path: Path) -> Any:
    """The API with AUTH_AUTO_PROVISION."""
    with serving(settings_for(database_url, tmp_path, auth_auto_provision=True)) as served:
        yield served


def test_a_user_of_the_studios_backend_is_created_at_first_sight(provisioning: Served, house: House) -> None:
    client = provisioning.client()
    headers = signed(id=77, email="Cleo@Studio.example")

    answers = all_at_once([lambda: client.get(PROFILE, headers=headers)] * 4)

    assert [answer.status_code for answer in answers] == [200] * 4  # type: ignore[union-attr]
    user = client.get(PROFILE, headers=headers).json()["user"]
    assert (user["id"], user["email"], user["creditBalance"]) == ("77", "cleo@studio.example", 0)
    assert user["role"] == "user"
    assert house.count(User) == 2


@pytest.mark.parametrize("email", [None, "", 7, "a\0@b.example", "x" * 400])
def test_without_a_good_email_such_a_user_still_gets_in(provisioning: Served, email: object) -> None:
    answer = provisioning.client().get(PROFILE, headers=signed(userId="dora", email=email))

    assert (answer.status_code, answer.json()["user"]["id"]) == (200, "dora")


def test_an_account_is_not_taken_over_by_its_email(provisioning: Served, house: House) -> None:
    answer = provisioning.client().get(PROFILE, headers=signed(userId="eve", email="ann@example.com"))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert house.count(User) == 1


def test_every_change_of_the_balance_is_told_newest_first(served: Served, house: House) -> None:
    placed = house.order("ann", 2)
    with house.database.writing() as session:
        cancel_generation(session, placed.generation_id, "ann", now=later(1))

    told = served.client("ann").get(HISTORY).json()

    assert [(one["type"], one["amount"]) for one in told] == [
        ("refund", 30), ("refund", 30), ("usage", -60), ("bonus", 1000)
    ]  # fmt: skip
    assert set(told[0]) == {"id", "amount", "type", "description", "referenceId", "createdAt"}
    assert [one["referenceId"] for one in told[:3]] == [placed.generation_id] * 3
    assert served.client("ann").get(f"{HISTORY}?limit=1").json() == told[:1]
    house.customer("bob", credits=0)
    assert served.client("bob").get(HISTORY).json() == []
