"""A change of the password ends every login from before: over REST and over Socket.IO, whoever signed it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import socketio
from support.following import following
from support.house import NOW, House
from support.listening import Listener, listening
from support.serving import SECRET, Served
from support.waiting import wait_until

from posegen import accounts, ledger
from posegen.accounts import ProfileChanges
from posegen.tables import User

PROFILE = "/api/auth/profile"
PASSWORD = "correct horse battery"
NEW = "another long password"
CHANGE = {"currentPassword": PASSWORD, "newPassword": NEW}


@pytest.fixture
def bob(served: Served) -> str:
    """The token of bob, who registered with a password."""
    body = {"email": "bob@example.com", "password": PASSWORD}
    token: str = served.client().post("/api/auth/register", json=body).json()["data"]["token"]
    return token


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(served: Served, token: str) -> int:
    return served.client().get("/api/credits/balance", headers=bearing(token)).status_code


def signed(**claims: Any) -> str:
    claims.setdefault("exp", datetime.now(UTC) + timedelta(hours=1))
    return jwt.encode(claims, SECRET, algorithm="HS256")


def change_password(house: House, email: str = "bob@example.com", *, now: datetime | None = None) -> None:
    """What `posegen user reset-password` does."""
    hashed = accounts.hash_password(NEW)
    with house.database.writing() as session:
        accounts.reset_password(session, email=email, password=hashed, now=now or datetime.now(UTC))


def test_a_change_of_the_password_ends_every_login_from_before(served: Served, bob: str) -> None:
    client = served.client()
    # Read as late as can be: in the same second as the change, which `iat` alone cannot tell from it.
    newest = client.get(PROFILE, headers=bearing(bob)).json()["token"]

    changed = client.put(PROFILE, headers=bearing(bob), json=CHANGE).json()

    refused = client.get(PROFILE, headers=bearing(bob))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.json()["error"] == refused.json()["message"] == "Your password was changed; please log in again."
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert status(served, newest) == 401
    assert changed["token"] == changed["data"]["token"]
    assert status(served, changed["token"]) == 200
    login = {"email": "bob@example.com", "password": NEW}
    assert status(served, client.post("/api/auth/login", json=login).json()["data"]["token"]) == 200
    fresh = client.get(PROFILE, headers=bearing(changed["token"])).json()["token"]
    assert status(served, fresh) == 200


def test_each_change_ends_the_logins_of_the_one_before(served: Served, bob: str) -> None:
    client = served.client()
    first = client.put(PROFILE, headers=bearing(bob), json=CHANGE).json()["token"]
    back = {"currentPassword": NEW, "newPassword": PASSWORD}

    second = client.put(PROFILE, headers=bearing(first), json=back).json()["token"]

    assert [status(served, token) for token in (bob, first, second)] == [401, 401, 200]


def test_any_other_change_ends_no_login(served: Served, bob: str) -> None:
    changes = {"name": "Robert", "email": "robert@example.com", "currentPassword": PASSWORD}

    assert served.client().put(PROFILE, headers=bearing(bob), json=changes).status_code == 200
    assert served.client().put(PROFILE, headers=bearing(bob), json={"newPassword": NEW}).status_code == 400

    assert status(served, bob) == 200


def test_a_password_that_the_operator_resets_ends_the_logins_too(served: Served, house: House, bob: str) -> None:
    change_password(house)

    assert status(served, bob) == 401
    assert status(served, served.token("ann")) == 200


@pytest.mark.parametrize("meanwhile_in", ["note_login", "user_by_id"], ids=["login", "profile"])
def test_a_token_asked_for_while_the_password_changes_is_not_good_after_it(
    served: Served, house: House, bob: str, monkeypatch: pytest.MonkeyPatch, meanwhile_in: str
) -> None:
    asked: Callable[..., User] = getattr(accounts, meanwhile_in)
    changes = iter([change_password])

    def meanwhile(*given: Any, **named: Any) -> User:
        for change in changes:  # once
            change(house)
        return asked(*given, **named)

    if meanwhile_in == "note_login":
        monkeypatch.setattr(accounts, meanwhile_in, meanwhile)
        login = {"email": "bob@example.com", "password": PASSWORD}
        token = served.client().post("/api/auth/login", json=login).json()["data"]["token"]
    else:
        monkeypatch.setattr(accounts, meanwhile_in, meanwhile)
        token = served.client().get(PROFILE, headers=bearing(bob)).json()["token"]

    assert status(served, token) == 401


def test_a_token_signed_elsewhere_is_good_when_it_was_made_since(served: Served, house: House) -> None:
    changed = datetime.now(UTC).replace(microsecond=500_000) - timedelta(seconds=10)
    second = int(changed.timestamp())
    change_password(house, "ann@example.com", now=changed)

    assert status(served, signed(userId="ann", iat=second - 1)) == 401
    assert status(served, signed(userId="ann", iat=second)) == 200
    assert status(served, signed(id="ann", iat=second + 1)) == 200
    assert status(served, signed(id="ann", iat=changed.timestamp() - 1, loginsFrom="rubbish")) == 401


def test_a_token_that_does_not_say_when_it_was_made_is_good_until_the_password_changes(
    served: Served, house: House
) -> None:
    assert status(served, signed(userId="ann")) == 200

    change_password(house, "ann@example.com")

    assert status(served, signed(userId="ann")) == 401


@pytest.mark.parametrize("iat", ["soon", None, [1], True, float("inf"), float("nan")])
def test_a_token_made_at_no_time_is_refused_or_good_and_never_an_error(served: Served, house: House, iat: Any) -> None:
    assert status(served, signed(userId="ann", iat=iat)) in {200, 401}
    change_password(house, "ann@example.com")
    assert status(served, signed(userId="ann", iat=iat)) == 401


def test_sockets_of_before_are_closed_and_only_the_new_login_comes_back(served: Served, house: House, bob: str) -> None:
    generation_id = house.order(user_with_credits(house), 1).generation_id
    with (
        listening(served.url, {"token": bob}) as before,
        listening(served.url, {"token": served.token("ann")}) as ann,
        following(served, generation_id) as native,
    ):
        before.wait_for("connected")
        native.read()
        token = served.client().put(PROFILE, headers=bearing(bob), json=CHANGE).json()["token"]

        wait_until(lambda: not before.is_connected)

        refused = Listener(served.url)
        with pytest.raises(socketio.exceptions.ConnectionError):
            refused.connect({"token": bob})
        refused.close()
        assert refused.refusals == [{"message": "Your password was changed; please log in again."}]
        with listening(served.url, {"token": token}) as after:
            after.wait_for("connected")
            now = datetime.now(UTC)  # what is a day old is told to nobody
            house.deliver(house.claim(1, now=now)[0], now=now)
            after.wait_for_updates(4)
            assert after.is_connected
        assert before.updates == []
        assert ann.is_connected
        assert native.read_until("generation_completed")  # it stands on the id alone


def test_a_socket_is_closed_when_its_login_expires_and_is_not_let_in_again(served: Served) -> None:
    short = signed(userId="ann", exp=datetime.now(UTC) + timedelta(seconds=2))
    with listening(served.url, {"token": short}) as ending, listening(served.url, {"token": served.token("ann")}) as on:
        ending.wait_for("connected")

        wait_until(lambda: not ending.is_connected)

        assert on.is_connected
    refused = Listener(served.url)
    with pytest.raises(socketio.exceptions.ConnectionError):
        refused.connect({"token": short})
    refused.close()
    assert refused.refusals == [{"message": "Your login has expired; please log in again."}]


def user_with_credits(house: House) -> str:
    with house.database.writing() as session:
        user_id = accounts.user_by_email(session, "bob@example.com").id
        ledger.grant(session, user_id, 100, description="for tests", now=NOW)
    return user_id


def test_the_time_from_which_logins_are_valid_grows_though_the_clock_does_not(house: House) -> None:
    told = []
    for now in (NOW, NOW, NOW - timedelta(hours=1)):
        changes = ProfileChanges(password=accounts.hash_password(NEW))
        with house.database.writing() as session:
            told.append(accounts.change_profile(session, "ann", changes, now=now).logins_valid_from)

    assert told == [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(microseconds=2)]
