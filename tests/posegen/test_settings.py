"""What a process is told from outside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from posegen.bell import connect
from posegen.settings import Settings, seconds_of

ROOT = Path(__file__).parents[2]
SECRET = "a secret of more than thirty-two characters"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JWT_SECRET", SECRET)


@pytest.mark.parametrize(
    ("written", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("45s", 45), (" 90 ", 90)]
)
def test_durations_are_read_in_their_units(written: str, seconds: int) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize("written", ["", "0", "0d", "-1h", "1w", "1.5h", "soon"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(written)


def test_a_missing_jwt_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET")

    with pytest.raises(ValidationError, match="jwt_secret"):
        Settings()


def test_a_short_jwt_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")

    with pytest.raises(ValidationError, match="jwt_secret"):
        Settings()


def test_settings_are_read_from_the_file_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET")
    (tmp_path / ".env").write_text(f"JWT_SECRET={SECRET}\nPORT=4100\nSOMETHING_ELSE=1\n")

    assert Settings().port == 4100


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=4100\n")
    monkeypatch.setenv("PORT", "4200")

    assert Settings().port == 4200


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")

    assert Settings().port == 4000


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_no_secret_shows_in_the_settings_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://posegen:hunter2@db/posegen")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter3")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter4@redis/0")

    told = repr(Settings()) + str(Settings())

    assert SECRET not in told
    assert not any(secret in told for secret in ("hunter2", "hunter3", "hunter4"))


def test_a_refused_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "hunter2")

    with pytest.raises(ValidationError, match="jwt_secret") as refused:
        Settings()

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("part", ["api", "gpu_worker", "posegen recover"])
def test_a_part_that_cannot_read_its_settings_shows_no_value(part: str, tmp_path: Path) -> None:
    module, *arguments = part.split()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "JWT_SECRET": "hunter2", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "JWT_SECRET: " in told
    assert "Traceback" not in told
    assert "hunter2" not in told


def test_origins_are_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGIN", "http://a.example, https://*.b.example,")

    assert Settings().cors_origin == ("http://a.example", "https://*.b.example")


def test_the_public_address_loses_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://pictures.example/")

    assert Settings().public_base_url == "https://pictures.example"


def test_a_profile_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "flux9")

    with pytest.raises(ValidationError, match="flux9"):
        Settings()


def test_without_a_database_url_it_is_a_file_under_var(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAR_DIR", "here")

    assert make_url(Settings().sql_url).database == str(tmp_path / "here" / "posegen.db")


def test_without_any_redis_setting_it_is_the_one_here() -> None:
    assert Settings().bell_url == "redis://127.0.0.1:6379/0"


def test_a_redis_url_wins_over_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_HOST", "elsewhere")
    monkeypatch.setenv("REDIS_URL", "redis://here:1/2")

    assert Settings().bell_url == "redis://here:1/2"


def test_a_redis_password_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_HOST", "redis.example")
    monkeypatch.setenv("REDIS_PORT", "6380")
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/w:rd?#%")

    with connect(Settings().bell_url) as client:
        arguments = client.connection_pool.connection_kwargs

    assert (arguments["host"], arguments["port"], arguments["password"]) == ("redis.example", 6380, "p@ss/w:rd?#%")


def test_the_private_redis_of_the_start_script_is_found_by_parts_started_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "port").write_text("7001")
    (tmp_path / "redis" / "password").write_text("secret")
    assert Settings().bell_url == "redis://:secret@127.0.0.1:7001/0"

    monkeypatch.setenv("REDIS_HOST", "elsewhere")
    assert Settings().bell_url == "redis://elsewhere:6379/0"


@pytest.mark.parametrize("name", ["HF_ENDPOINT_URL", "HF_SERVERLESS_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "http://x.endpoints.huggingface.cloud",
        "x.endpoints.huggingface.cloud",
        "https://",
        "https://someone:secret@x.endpoints.huggingface.cloud",
        "https://x.endpoints.huggingface.cloud/?token=secret",
        "ftp://x.endpoints.huggingface.cloud",
        "https://[x",
    ],
)
def test_an_address_that_would_give_a_token_away_is_refused_without_being_told(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, address)

    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", ["https://x.endpoints.huggingface.cloud/", "http://127.0.0.1:8000/", ""])
def test_an_address_that_keeps_it_is_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT_URL", address)

    assert Settings().hf_endpoint_url == address


def test_an_endpoint_has_its_own_token_or_the_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = []
    for name in ("HUGGINGFACE_API_KEY", "HF_TOKEN", "HF_ENDPOINT_TOKEN"):
        monkeypatch.setenv(name, name.lower())
        tokens.append(Settings().endpoint_token)

    assert tokens == ["huggingface_api_key", "hf_token", "hf_endpoint_token"]
    assert Settings().serverless_token == "huggingface_api_key"
