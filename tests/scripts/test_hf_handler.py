"""The endpoint's handler, called as the endpoints' own server calls it, and the repository that it lies in."""

import ast
import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.hosting import HANDLER, load_handler

from models.fake import FakeEngine
from models.hosted.wire import MOST_PICTURES, write_call
from models.profiles import TINY
from models.requests import PictureRequest

ROOT = Path(__file__).parents[2]
FOLDER = HANDLER.parent


class FakeHandler:
    """The handler around an engine that draws by hash."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **trouble: str) -> None:
        self.engine = FakeEngine(TINY, 4, trouble=trouble)
        monkeypatch.setenv("PROFILE", "tiny")
        monkeypatch.setattr("models.loading.load_engine", lambda *_, **__: self.engine)
        monkeypatch.setattr("models.loading.plan_for", lambda *_, **__: None)
        self.call = load_handler(HANDLER, tmp_path)


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHandler:
    return FakeHandler(monkeypatch, tmp_path)


def asked(key: str = "a", **changes: Any) -> PictureRequest:
    plain: dict[str, Any] = {
        "prompt": "a person",
        "control": Image.new("RGB", (128, 128), (0, 0, 255)),
        "width": 128,
        "height": 128,
        "seed": 7,
        "steps": 3,
        "guidance": 3.5,
        "control_scale": 0.9,
        "control_end": 0.9,
    }
    return PictureRequest(key=key, **{**plain, **changes})


def body(*requests: PictureRequest, profile: str = "tiny") -> dict[str, Any]:
    told: dict[str, Any] = json.loads(write_call(profile, requests))
    return told


def test_several_poses_are_drawn_in_one_call_and_in_the_same_forwards(handler: FakeHandler) -> None:
    answer = handler.call(body(asked(seed=1), asked(seed=2), asked(seed=3)))

    sizes = [Image.open(io.BytesIO(base64.b64decode(picture["image"]))).size for picture in answer["pictures"]]
    assert sizes == [(128, 128)] * 3
    assert [picture["poseApplied"] for picture in answer["pictures"]] == [True] * 3
    assert {len(forward) for forward in handler.engine.forwards} == {3}


def test_the_answer_is_plain_json(handler: FakeHandler) -> None:
    answer = handler.call(body(asked()))
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"width": 130}, "bad_call"),
        ({"width": 144, "height": 144, "control": None}, "size_refused"),
        ({"steps": 1000}, "steps_refused"),
        ({"steps": "3"}, "bad_call"),
        ({"steps": True}, "bad_call"),
        ({"guidance": -1}, "strength_refused"),
        ({"seed": -1}, "strength_refused"),
        ({"prompt": " "}, "empty_prompt"),
        ({"prompt": 7}, "bad_call"),
        ({"prompt": "x" * 30_000}, "bad_call"),
        ({"control": "!"}, "bad_call"),
        ({"control": "bm90IGEgcGljdHVyZQ=="}, "bad_call"),
        ({"control": 7}, "bad_call"),
        ({"loras": [{"name": "x", "strength": 9.0}]}, "strength_refused"),
        ({"loras": [{"name": "x"}]}, "bad_call"),
        ({"loras": "x"}, "bad_call"),
    ],
)
def test_a_bad_picture_of_a_call_is_answered_for_itself(
    handler: FakeHandler, change: dict[str, Any], code: str
) -> None:
    call = body(asked(), asked())
    call["inputs"]["pictures"][0].update(change)

    bad, good = handler.call(call)["pictures"]

    assert (bad["error"]["code"], bad["error"]["again"]) == (code, False)
    assert "image" in good


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"inputs": "a cat"},
        {"inputs": {"format": 99}},
        body(asked(), profile="flux1-dev"),
        body(),
        body(*[asked()] * (MOST_PICTURES + 1)),
        [],
    ],
    ids=["empty", "words", "format", "profile", "none", "too-many", "no-object"],
)
def test_what_is_no_call_is_refused_without_raising(handler: FakeHandler, call: Any) -> None:
    assert handler.call(call)["error"]["message"]


def test_a_picture_that_the_engine_cannot_draw_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = FakeHandler(monkeypatch, tmp_path, **{"1:0": "nan", "1:1": "oom"})

    answer = handler.call(body(asked(), asked(), asked()))

    assert [picture.get("error", {}).get("code") for picture in answer["pictures"]] == [
        "bad_picture",
        "out_of_memory",
        None,
    ]


def test_a_broken_card_is_told_and_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handler = FakeHandler(monkeypatch, tmp_path, **{"1:0": "crash"})
    ended: list[bool] = []
    monkeypatch.setitem(type(handler.call).__call__.__globals__, "end_soon", lambda: ended.append(True))

    first = handler.call(body(asked()))
    second = handler.call(body(asked()))

    assert "failed" in first["error"]["message"]
    assert "started again" in second["error"]["message"]
    assert ended == [True]


def test_a_surprise_leaves_nothing_for_the_next_call(handler: FakeHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(handler.engine, "step", lambda: (_ for _ in ()).throw(KeyError("a mistake")))
        assert "KeyError" in handler.call(body(asked()))["error"]["message"]

    assert "image" in handler.call(body(asked()))["pictures"][0]


def test_the_repository_is_the_handler_what_it_needs_and_models(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "models").mkdir(parents=True)
    (repository / "models" / "of_an_older_version.py").touch()
    (repository / "loras").mkdir()

    assemble = [sys.executable, FOLDER / "assemble.py", repository]
    subprocess.run(assemble, check=True, capture_output=True, timeout=60)

    assert {file.name for file in repository.iterdir()} == {"handler.py", "requirements.txt", "models", "loras"}
    copied = {file.relative_to(repository).as_posix() for file in repository.rglob("*.py")} - {"handler.py"}
    assert copied == {file.relative_to(ROOT).as_posix() for file in (ROOT / "models").rglob("*.py")}


def test_the_handler_imports_nothing_of_ours_but_models() -> None:
    nodes = list(ast.walk(ast.parse(HANDLER.read_text())))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}

    assert {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names) == {"models"}


def test_its_requirements_are_the_versions_that_everything_is_tested_with() -> None:
    constraints = set((ROOT / "constraints.txt").read_text().splitlines())
    wanted = [line for line in (FOLDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]

    assert wanted
    assert [line for line in wanted if line not in constraints] == []
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted)
