"""The private Redis: ours alone, durable, and gone when we are."""

import signal
import stat
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.processes import RealProcess, nothing_left_behind
from support.waiting import wait_until

from posegen import private_redis
from posegen.private_redis import PrivateRedis, RedisServerMissing, find_redis_server, remembered_url


def client_of(server: PrivateRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_a_restart_keeps_port_and_entries(tmp_path: Path) -> None:
    first = PrivateRedis(tmp_path)
    first.start()
    with client_of(first) as client:
        client.set("kept", "yes")
    first.stop()

    second = PrivateRedis(tmp_path)
    second.start()
    with client_of(second) as client:
        kept = client.get("kept")
    second.stop()

    assert (kept, second.port) == ("yes", first.port)


def test_others_find_it_by_its_folder(tmp_path: Path) -> None:
    before = remembered_url(tmp_path)
    server = PrivateRedis(tmp_path)
    server.start()
    found = remembered_url(tmp_path)
    server.stop()

    assert (before, found) == (None, server.url)


def test_a_crash_loses_no_entry_that_was_answered(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path)
    server.start()
    with client_of(server) as client:
        client.set("kept", "yes")
    server.kill()

    server.start()
    with client_of(server) as client:
        assert client.get("kept") == "yes"
    server.stop()


def test_a_running_redis_on_the_remembered_port_is_left_alone(tmp_path: Path, redis_server: PrivateRedis) -> None:
    (tmp_path / "port").write_text(str(redis_server.port))
    server = PrivateRedis(tmp_path)

    with nothing_left_behind():
        server.start()
        port = server.port
        server.stop()

    assert port != redis_server.port
    with client_of(redis_server) as client:
        assert client.ping()


def test_only_who_knows_the_password_gets_in(redis_server: PrivateRedis) -> None:
    with (
        redis.Redis(port=redis_server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_password_and_configuration_are_for_the_owner_only(redis_server: PrivateRedis) -> None:
    modes = {stat.S_IMODE((redis_server.folder / name).stat().st_mode) for name in ("password", "redis.conf")}

    assert modes == {0o600}


def test_it_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from posegen.private_redis import PrivateRedis\n"
        "server = PrivateRedis(Path(sys.argv[1])); server.start(); print('up', server.process_id, flush=True)\n"
        "time.sleep(600)"
    )
    with nothing_left_behind():
        starter = RealProcess([sys.executable, "-c", program, tmp_path / "redis"], log_file=tmp_path / "log")
        starter.wait_for_log("up")
        starter.send(signal.SIGKILL)
        starter.wait()


def test_without_any_redis_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(private_redis.importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(RedisServerMissing, match="apt-get install redis-server"):
        find_redis_server()


def test_the_path_wins_over_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_redis_server() == program


def test_a_server_that_cannot_start_tells_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho the disk is made of cheese\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(private_redis.RedisNotStarted, match="made of cheese"):
        PrivateRedis(tmp_path / "redis").start()


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path)
    server.start()
    server.stop()
    server.stop()

    wait_until(lambda: server.process_id is None)
