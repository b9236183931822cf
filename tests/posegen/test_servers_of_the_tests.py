"""The servers that other tests stand on: fresh every time, stoppable, and gone with pytest."""

import shutil
import signal
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, inspect, text
from support.processes import RealProcess, nothing_left_behind
from support.servers import PostgresServer

from posegen.private_redis import PrivateRedis

TWICE = pytest.mark.parametrize("visit", [1, 2])


@TWICE
def test_every_test_gets_a_database_without_tables(empty_database_url: str, visit: int) -> None:
    engine = create_engine(empty_database_url)
    before = inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE dirt (id INTEGER)"))
    engine.dispose()

    assert before == []


@TWICE
def test_every_test_gets_an_empty_redis(redis_url: str, visit: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = client.keys()
        client.set("dirt", 1)

    assert before == []


def test_redis_comes_back_at_its_url_after_an_outage(redis_url: str, redis_server: PrivateRedis) -> None:
    redis_server.stop()
    redis_server.start()

    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


def test_postgres_comes_back_at_its_url_after_an_outage(
    empty_postgres_url: str, postgres_server: PostgresServer
) -> None:
    engine = create_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (id INTEGER)"))
    engine.dispose()

    postgres_server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(empty_postgres_url.replace("+psycopg", ""))
    postgres_server.start()

    tables = inspect(engine).get_table_names()
    engine.dispose()
    assert tables == ["kept"]


def test_postgres_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from postgres_server import PostgresServer\n"
        "server = PostgresServer(); server.start(); print('up in', server.folder, flush=True); time.sleep(600)"
    )
    scripts = Path(__file__).parents[2] / "scripts"
    with nothing_left_behind():
        starter = RealProcess([sys.executable, "-c", program, scripts], log_file=tmp_path / "log")
        starter.wait_for_log("up in")
        starter.send(signal.SIGKILL)
        starter.wait()
    shutil.rmtree(starter.log.split("up in ")[1].strip())
