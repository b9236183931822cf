"""Accounts, tokens and who gets in."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.house import House
from support.serving import ROOT, SECRET, Served, serving, settings_for

from posegen.tables import User

BALANCE = "/api/credits/balance"
PASSWORD = "correct horse battery"


def signed(claims: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256") -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"}


def unchecked(claims: dict[str, Any]) -> str:
    """A token as other libraries write it: PyJWT refuses to write what it would refuse to read."""
    plain = {name: value.timestamp() if isinstance(value, datetime) else value for name, value in claims.items()}
    return jwt.api_jws.encode(json.dumps(plain).encode(), SECRET, algorithm="HS256", headers={"typ": "JWT"})


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_a_new_account_is_logged_in_and_has_no_credits(served: Served) -> None:
    body = {"email": "Bob@Studio.local", "password": PASSWORD, "name": "Bob"}

    answer = served.client().post("/api/auth/register", json=body)

    assert answer.status_code == 201
    told = answer.json()
    assert told["success"] is True
    user = told["data"]["user"]
    assert (user["email"], user["name"], user["creditBalance"]) == ("bob@studio.local", "Bob", 0)
    login = {"Authorization": f"Bearer {told['data']['token']}"}
    assert served.client().get(BALANCE, headers=login).json() == {"success": True, "data": {"balance": 0}}


def test_a_login_is_answered_like_a_registration(served: Served) -> None:
    client = served.client()
    registered = client.post("/api/auth/register", json={"email": "bob@example.com", "password": PASSWORD}).json()

    answer = client.post("/api/auth/login", json={"email": " BOB@example.com", "password": PASSWORD})

    assert answer.status_code == 200
    assert answer.json()["data"]["user"] == registered["data"]["user"]
    claims = jwt.decode(answer.json()["data"]["token"], SECRET, algorithms=["HS256"])
    assert set(claims) == {"userId", "email", "exp", "iat", "loginsFrom"}
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600


def test_an_email_is_registered_once(served: Served, house: House) -> None:
    client = served.client()
    client.post("/api/auth/register", json={"email": "bob@example.com", "password": PASSWORD})
    users = house.count(User)

    answer = client.post("/api/auth/register", json={"email": "BOB@example.com", "password": PASSWORD})

    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert answer.json()["error"] == answer.json()["message"]
    assert house.count(User) == users


def test_a_bad_registration_names_every_field(sqlite_served: Served, sqlite_house: House) -> None:
    users = sqlite_house.count(User)

    answer = sqlite_served.client().post("/api/auth/register", json={"email": "nobody", "password": "short", "name": 7})

    assert answer.status_code == 400
    assert {one["field"] for one in answer.json()["errors"]} == {"email", "password", "name"}
    assert sqlite_house.count(User) == users


@pytest.mark.parametrize(
    "email", ["bo\0b@example.com", "@example.com", "bob@", "bob example.com", "a" * 400 + "@b.example"]
)
def test_an_address_that_is_none_is_400(served: Served, email: str) -> None:
    answer = served.client().post("/api/auth/register", json={"email": email, "password": PASSWORD})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "email")


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"email": "nobody@example.com"}, {"password": "x\0"}])
def test_a_wrong_login_is_one_refusal_whatever_is_wrong(sqlite_served: Served, body: dict[str, str]) -> None:
    client = sqlite_served.client()
    client.post("/api/auth/register", json={"email": "bob@example.com", "password": PASSWORD})

    answer = client.post("/api/auth/login", json={"email": "bob@example.com", "password": PASSWORD, **body})

    if "\0" in body.get("password", ""):
        assert answer.status_code == 400
    else:
        assert (answer.status_code, answer.json()["message"]) == (401, "E-mail or password is wrong.")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_profile_comes_with_a_fresh_token_at_both_levels(sqlite_served: Served) -> None:
    told = sqlite_served.client("ann").get("/api/auth/profile").json()

    assert told["user"] == told["data"]["user"]
    assert told["user"]["creditBalance"] == 1000
    assert jwt.decode(told["token"], SECRET, algorithms=["HS256"])["userId"] == "ann"


@pytest.mark.parametrize("claim", ["userId", "id"])
def test_a_token_of_the_studios_own_backend_is_good(sqlite_served: Served, claim: str) -> None:
    answer = sqlite_served.client().get(BALANCE, headers=signed({claim: "ann", "exp": in_an_hour()}))

    assert answer.json()["data"]["balance"] == 1000


@pytest.mark.parametrize(
    "more",
    [
        {"aud": "studio"}, {"sub": 4711}, {"jti": 4711}, {"iss": 4711},
        {"iat": datetime.now(UTC) + timedelta(minutes=2)}, {"userId": None, "id": "ann"},
    ],
    ids=["audience", "subject", "token-id", "issuer", "clock-ahead", "one-id-of-two"],
)  # fmt: skip
def test_what_else_the_studios_backend_says_in_its_tokens_is_its_own_affair(
    sqlite_served: Served, more: dict[str, Any]
) -> None:
    login = {"Authorization": f"Bearer {unchecked({'userId': 'ann', 'exp': in_an_hour(), **more})}"}

    assert sqlite_served.client().get(BALANCE, headers=login).status_code == 200


@pytest.mark.parametrize(
    "login",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YW5uOmFubg=="},
        signed({"userId": "ann"}),
        signed({"userId": "ann", "exp": datetime.now(UTC) - timedelta(seconds=1)}),
        signed({"userId": "ann", "exp": in_an_hour()}, secret="another secret that is long enough"),
        signed({"userId": "ann", "exp": in_an_hour()}, algorithm="HS512", secret=SECRET * 2),
        signed({"userId": "ann", "exp": in_an_hour()}, algorithm="none", secret=""),
        signed({"userId": "nobody", "exp": in_an_hour()}),
        signed({"userId": "a\0nn", "exp": in_an_hour()}),
        signed({"userId": True, "exp": in_an_hour()}),
        signed({"email": "ann@example.com", "exp": in_an_hour()}),
    ],
    ids=[
        "none", "empty", "nonsense", "basic", "endless", "expired", "other-secret", "hs512", "unsigned", "unknown-user",
        "nul", "boolean", "no-user",
    ],
)  # fmt: skip
def test_a_missing_or_bad_token_is_401(sqlite_served: Served, login: dict[str, str]) -> None:
    answer = sqlite_served.client().get(BALANCE, headers=login)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/credits/balance"), ("GET", "/api/auth/profile"), ("GET", f"{ROOT}/library"),
        ("GET", f"{ROOT}/library/x"), ("GET", f"{ROOT}/categories"), ("GET", f"{ROOT}/projects"),
        ("POST", f"{ROOT}/projects"), ("GET", f"{ROOT}/projects/x"), ("POST", f"{ROOT}/generate"),
        ("GET", f"{ROOT}/generations"), ("GET", f"{ROOT}/generations/x"), ("GET", f"{ROOT}/generations/x/results"),
        ("GET", f"{ROOT}/generations/x/poses"), ("POST", f"{ROOT}/generations/x/cancel"),
        ("POST", f"{ROOT}/recovery/trigger"),
    ],
)  # fmt: skip
def test_everything_but_login_and_health_wants_a_login(sqlite_served: Served, method: str, path: str) -> None:
    assert sqlite_served.client().request(method, path).status_code == 401


def test_only_an_administrator_may_trigger_a_recovery(served: Served, house: House) -> None:
    assert served.client("ann").post(f"{ROOT}/recovery/trigger").status_code == 403
    with house.database.writing() as session:
        session.get_one(User, "ann").role = "admin"

    answer = served.client("ann").post(f"{ROOT}/recovery/trigger")

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "recovered": 0, "failed": 0, "rung": 0}


def test_guessing_passwords_is_slowed_down(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, login_rate="2/15minute")) as served:
        client = served.client()
        guesses = [client.post("/api/auth/login", json={"email": "ann@example.com", "password": "?"}) for _ in range(3)]
        other = client.post("/api/auth/login", json={"email": "bob@example.com", "password": "?"})

    assert [guess.status_code for guess in guesses] == [401, 401, 429]
    refused = guesses[-1]
    assert refused.json()["retryAfter"] == int(refused.headers["retry-after"]) > 800
    assert other.status_code == 401


def test_guessing_over_many_accounts_is_slowed_down_too(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, login_rate="1/15minute")) as served:
        client = served.client()
        statuses = [
            client.post("/api/auth/login", json={"email": f"{n}@example.com", "password": "?"}).status_code
            for n in range(11)
        ]

    assert statuses == [401] * 10 + [429]


def test_registrations_of_one_address_are_limited(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, register_rate="1/hour")) as served:
        client = served.client()
        statuses = [
            client.post("/api/auth/register", json={"email": f"{n}@example.com", "password": PASSWORD}).status_code
            for n in range(2)
        ]

    assert statuses == [201, 429]
