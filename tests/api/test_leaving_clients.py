"""A client that goes away at a bad moment leaves nothing behind."""

import threading
from pathlib import Path

import pytest
from support.house import House
from support.listening import listening
from support.polling import Poller
from support.serving import Served, serving, settings_for
from support.waiting import wait_until

from api import sockets
from api.access import Caller, caller_of
from api.service import Service
from posegen.bell import Bell


def test_who_leaves_while_the_login_is_checked_is_not_followed_for_ever(
    sqlite_served: Served,
    sqlite_house: House,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sqlite_house.customer("bob")
    is_asked, may_answer = threading.Event(), threading.Event()

    def slowly(service: Service, token: str) -> Caller:
        is_asked.set()
        may_answer.wait(20)
        return caller_of(service, token)

    monkeypatch.setattr(sockets, "caller_of", slowly)
    page = Poller(sqlite_served.client(), None)
    coming = threading.Thread(target=page.log_in, args=({"token": sqlite_served.token("ann")},))
    coming.start()
    assert is_asked.wait(20)
    assert sqlite_served.client().post(page.address, content="1").text == "OK"  # Engine.IO's goodbye
    may_answer.set()
    coming.join(20)

    bell = Bell(redis_url)
    with listening(sqlite_served.url, {"token": sqlite_served.token("bob")}):
        wait_until(lambda: bell.who_watches(["bob"]))  # who came later is known to watch, so ann would be too
        wait_until(lambda: not bell.who_watches(["ann"]), timeout_s=5, message="ann is followed and shown previews")
    bell.close()
    assert "Traceback" not in capsys.readouterr().out


def test_who_does_not_log_in_is_not_kept(sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "LOG_IN_WITHIN_S", 0.3)
        patch.setattr(sockets, "STRANGERS_EVERY_S", 0.05)
        with (
            serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url)) as served,
            listening(served.url, {"token": served.token("ann")}) as ann,
        ):
            stranger = Poller(served.client(), None)
            refused = Poller(served.client(), {"token": "nonsense"})

            for one in (stranger, refused):
                wait_until(lambda one=one: one.client.get(one.address).status_code == 400)  # type: ignore[misc]

            ann.ping()
            assert ann.wait_for("pong")
