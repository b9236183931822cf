"""What the command line and the settings say about the engine reaches it."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gpu_worker.engine_choice import open_engine
from gpu_worker.process import Options
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
