"""Crash points: the list is complete by the source itself, and a process that reaches its point is gone at once."""

import ast
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from posegen import crash_points
from posegen.crash_points import POINTS, Act, Wish, wish_of
from posegen.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = [
    source
    for package in ("api", "gpu_worker", "posegen")
    for source in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in source.parts
]
BY_HAND = ("posegen/backup.py", "posegen/cli.py", "posegen/doctor/database.py", "posegen/migrating.py")
"""Commands of an operator, who repeats what was cut short; they are no worker's and no API's path."""
DOORS = {
    "begin": {"posegen/database.py", "posegen/postgresql.py"},
    "commit": {"posegen/database.py"},
    "put": {"posegen/storage.py"},
    "publish": {"posegen/bell.py"},
    "psubscribe": {"posegen/channel.py"},
    "enqueue_call": {"posegen/bell.py"},
}
"""What lasts is done by these calls, and only where a crash point stands around it."""


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    crash_points.arm(None)


def calls_in(source: Path) -> Iterator[tuple[str, ast.Call, str]]:
    """Every method call: its name, itself, and what it is called on."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node, ast.unparse(node.func.value)


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


def test_every_writing_transaction_of_a_worker_or_the_healing_names_its_act() -> None:
    unnamed = [
        f"{name_of(source)}:{call.lineno}"
        for source in SOURCES
        if name_of(source) not in BY_HAND and not name_of(source).startswith("api/")
        for called, call, _on in calls_in(source)
        if called == "writing" and not call.args
    ]

    assert unnamed == []


def test_what_lasts_is_done_only_where_a_crash_point_stands() -> None:
    elsewhere = [
        f"{name_of(source)}:{call.lineno} {called}"
        for source in SOURCES
        for called, call, on in calls_in(source)
        if called in DOORS
        and name_of(source) not in DOORS[called] | set(BY_HAND)
        and not on.endswith(("router", "storage", "_storage", "bell", "_bell"))
    ]

    assert elsewhere == []


def test_every_use_of_redis_by_the_bell_crosses_a_crash_point() -> None:
    source = (ROOT / "posegen" / "bell.py").read_text()
    bare = [
        function.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Bell"
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name not in ("__init__", "close")
        if "self._rest." not in ast.unparse(function)
    ]

    assert bare == []


def test_every_act_is_crossed_somewhere() -> None:
    crossed = "\n".join(source.read_text() for source in SOURCES if source.name != "crash_points.py")

    assert [act for act in Act if f"Act.{act.name}" not in crossed] == []


def test_both_sides_of_every_act_are_points() -> None:
    assert len(POINTS) == len(set(POINTS)) == 2 * len(Act)


def test_a_wish_names_a_point_and_the_how_many_th_time() -> None:
    assert wish_of("") is None
    assert wish_of("before:commit.claim") == Wish(point="before:commit.claim", nth=1)
    assert wish_of("after:redis.ring:3") == Wish(point="after:redis.ring", nth=3)
    assert wish_of("trace") == Wish(point="trace")


def test_a_point_that_does_not_exist_is_refused_by_the_settings() -> None:
    with pytest.raises(ValidationError, match="no crash point 'before:lunch'"):
        Settings(_env_file=None, jwt_secret="x" * 32, crash_at="before:lunch:2")


def test_an_armed_process_is_gone_at_the_second_time_on_the_far_side() -> None:
    program = (
        "from posegen.crash_points import Act, arm, around, wish_of\n"
        "arm(wish_of('after:file.put:2'))\n"
        "for number in range(3):\n"
        "    with around(Act.FILE_PUT): print('did', number, flush=True)\n"
        "    print('left', number, flush=True)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert done.returncode == -signal.SIGKILL
    assert [line for line in done.stdout.splitlines() if line[:4] in ("did ", "left")] == ["did 0", "left 0", "did 1"]


def test_an_act_that_fails_does_not_reach_its_far_side(capsys: pytest.CaptureFixture[str]) -> None:
    crash_points.arm(wish_of("trace"))

    with pytest.raises(OSError, match="full"), crash_points.around(Act.FILE_PUT):
        raise OSError("the disk is full")

    told = capsys.readouterr().out
    assert "before:file.put" in told
    assert "after:file.put" not in told
