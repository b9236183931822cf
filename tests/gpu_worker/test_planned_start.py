"""A worker says what goes where before it loads, and does not start with a plan that does not fit."""

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil  # type: ignore[import-untyped]
import pytest
from structlog.testing import capture_logs

from gpu_worker.__main__ import main
from gpu_worker.engine_choice import open_engine
from gpu_worker.errors import CannotStart
from gpu_worker.process import Options
from posegen.settings import Settings


def settings(tmp_path: Path, **given: str) -> Settings:
    return Settings(_env_file=None, jwt_secret="s" * 40, var_dir=tmp_path, **given)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where nothing that quantises is installed."""
    for library in ("torchao", "bitsandbytes"):
        monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.usefixtures("without_libraries")
@pytest.mark.parametrize(
    ("flag", "setting", "library"),
    [("int8", "", "torchao"), (None, "fp8", "torchao"), ("nf4", "fp8", "bitsandbytes")],
)
def test_the_flag_decides_the_weights_and_else_the_setting_and_their_library_must_be_there(
    tmp_path: Path, flag: str | None, setting: str, library: str
) -> None:
    with pytest.raises(CannotStart, match=f"pip install .* {library}"):
        open_engine(Options(device="cpu", profile="tiny", precision=flag), settings(tmp_path, precision=setting))


@pytest.mark.usefixtures("without_libraries")
def test_the_plan_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with capture_logs() as told, pytest.raises(CannotStart):
        open_engine(Options(device="cpu", profile="tiny", precision="int8"), settings(tmp_path))
    assert [entry["event"] for entry in told] == ["engine.lossy_mode_not_judged", "engine.plan", "engine.loading"]
    assert (told[1]["weights"], told[1]["text_encoders"], told[1]["used"]) == ("int8", "resident", "0.8 GiB")
    assert "int8 was asked for" in told[1]["reasons"][0]


def test_a_plan_that_does_not_fit_is_no_start_and_names_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = SimpleNamespace(total=2**29, available=2**29)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: half)
    with pytest.raises(CannotStart, match=r"tiny in nf4 does not fit 0\.5 GiB .* a card with 0\.8 GiB") as raised:
        open_engine(Options(device="cpu", profile="tiny", precision="nf4"), settings(tmp_path))
    assert raised.value.exit_code == 78


def test_published_weights_on_a_cpu_need_no_plan(tmp_path: Path) -> None:
    with capture_logs() as told:
        loaded = open_engine(
            Options(device="cpu", profile="tiny", precision="bf16"), settings(tmp_path, precision="nf4", previews="off")
        )
    loaded.engine.close()
    assert [entry["event"] for entry in told] == ["engine.loading", "engine.warming_up", "engine.warm"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--max-batch", "0"], "neither auto nor a number"),
        (["--max-batch", "many"], "neither auto nor a number"),
        (["--precision", "fp16"], "invalid choice"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(
    given: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_worker", *given])
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err
