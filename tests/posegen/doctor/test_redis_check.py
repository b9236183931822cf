"""Redis servers that are away, forgetful, too eager to make room or nearly full: a real one, set so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of

from posegen.doctor.bell import check_redis
from posegen.doctor.findings import Finding
from posegen.ports import free_port


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """The tests' Redis, set back afterwards."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "0")
        client.config_set("appendonly", "yes")


def examined(tmp_path: Path, url: str) -> list[Finding]:
    return findings_of(check_redis, subject_of(tmp_path, redis_url=url))


def test_a_redis_that_keeps_everything_is_well(tmp_path: Path, redis_url: str) -> None:
    found = examined(tmp_path, redis_url)

    assert {finding.verdict for finding in found} == {OK}


def test_a_redis_that_throws_keys_away_is_told(tmp_path: Path, redis_url: str, server: redis.Redis) -> None:
    server.config_set("maxmemory-policy", "allkeys-lru")

    assert "throws keys away when its memory is full (allkeys-lru)" in said(examined(tmp_path, redis_url), FAIL)


def test_a_redis_without_an_append_only_file_is_told(tmp_path: Path, redis_url: str, server: redis.Redis) -> None:
    server.config_set("appendonly", "no")

    assert "keeps no append-only file" in said(examined(tmp_path, redis_url), WARN)


def test_a_redis_that_is_nearly_full_is_told(tmp_path: Path, redis_url: str, server: redis.Redis) -> None:
    used = int(server.info("memory")["used_memory"])
    server.config_set("maxmemory", str(int(used * 1.1)))

    assert "are in use" in said(examined(tmp_path, redis_url), WARN)


def test_a_wrong_password_is_told_without_it(tmp_path: Path, redis_url: str) -> None:
    address = redis_url.rsplit("@", 1)[1]

    told = said(examined(tmp_path, f"redis://:hunter2@{address}"), FAIL)

    assert "password" in told
    assert "hunter2" not in told


def test_a_redis_that_is_away_is_told(tmp_path: Path) -> None:
    assert "does not answer" in said(examined(tmp_path, f"redis://127.0.0.1:{free_port()}/0"), FAIL)


@pytest.mark.parametrize("url", ["redis://:hunter2@host:port/0", "http://:hunter2@host/0"])
def test_an_address_that_cannot_be_read_is_told_without_it(tmp_path: Path, url: str) -> None:
    told = said(examined(tmp_path, url), FAIL)

    assert "cannot be read as an address" in told
    assert "hunter2" not in told
