"""What the command line and the settings say about the engine reaches it."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.untrained import write_untrained

from gpu_worker.engine_choice import open_engine
from gpu_worker.errors import CannotStart
from gpu_worker.process import Options
from models import mannequin
from models.inflight import InflightEngine
from models.quality import VERDICTS, verdict_file
from models.stepping import SteppedEngine
from models.velocity_cache import CacheMode
from posegen.settings import Settings


def settings(tmp_path: Path, **given: str) -> Settings:
    return Settings(_env_file=None, jwt_secret="s" * 40, var_dir=tmp_path, **given)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize(
    ("flag", "setting", "expected"),
    [
        (None, None, CacheMode.OFF),
        (None, "safe", CacheMode.SAFE),
        ("fast", "safe", CacheMode.FAST),
        ("off", "fast", CacheMode.OFF),
    ],
)
def test_the_flag_decides_which_steps_are_skipped_and_else_the_setting(
    tmp_path: Path, flag: str | None, setting: str | None, expected: CacheMode
) -> None:
    given = {} if setting is None else {"cache": setting}

    engine = open_engine(Options(device="fake:0", cache=flag), settings(tmp_path, **given)).engine

    assert isinstance(engine, SteppedEngine)
    assert engine.cache is expected


def test_the_real_engine_is_told_too(tmp_path: Path) -> None:
    engine = open_engine(Options(device="cpu", profile="tiny", cache="fast"), settings(tmp_path, previews="off")).engine

    assert isinstance(engine, InflightEngine)
    assert engine.cache is CacheMode.FAST
    engine.close()


def test_a_lossy_mode_that_was_not_judged_good_here_is_warned_of_and_drawn_all_the_same(tmp_path: Path) -> None:
    def opened(cache: str) -> list[dict[str, Any]]:
        with capture_logs() as logs:
            options = Options(device="cpu", profile="tiny", cache=cache)
            open_engine(options, settings(tmp_path, previews="off")).engine.close()
        return [line for line in logs if line["event"] == "engine.lossy_mode_not_judged"]

    assert opened("off") == []
    (warning,) = opened("safe")
    assert (warning["log_level"], warning["mode"]) == ("warning", "safe")
    file = verdict_file(tmp_path / VERDICTS, "tiny")
    file.parent.mkdir()
    file.write_text(json.dumps({"device_name": "CPU", "modes": {"safe": {"passed": True}}}))
    assert opened("safe") == []


@pytest.mark.parametrize("there", [True, False])
def test_a_worker_that_chooses_by_itself_draws_with_the_mannequin_where_its_weights_are(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path / "weights")
    if there:
        write_untrained(tmp_path / "weights")

    loaded = open_engine(Options(device="cpu"), settings(tmp_path, previews="off"))

    assert loaded.engine.profile.name == loaded.drawing().backend == ("mannequin" if there else "tiny")
    loaded.engine.close()


def test_the_fake_engine_stays_a_fake_of_tiny_whatever_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mannequin, "weights_are_there", lambda: True)

    assert open_engine(Options(device="fake:0"), settings(tmp_path)).engine.profile.name == "tiny"


def test_a_worker_for_the_mannequin_without_its_weights_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path / "weights")

    with pytest.raises(CannotStart, match="this package has none"):
        open_engine(Options(device="cpu", profile="mannequin"), settings(tmp_path))
