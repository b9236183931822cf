"""Secrets that can be guessed are told; those that cannot are left in peace."""

import secrets
from pathlib import Path

import pytest
from support.examined import FAIL, OK, SECRET, WARN, findings_of, said, subject_of

from posegen.doctor.findings import Verdict
from posegen.doctor.settings_checks import check_secrets, check_settings
from posegen.doctor.subject import SettingProblem, subject_here


@pytest.mark.parametrize(
    ("secret", "verdict", "words"),
    [
        ("change-me-in-production-please-now", FAIL, "example"),
        ("your-256-bit-secret-goes-right-here", FAIL, "example"),
        ("0" * 40, FAIL, "1 different"),
        ("abcdefghij0123456" * 2, FAIL, "repeats"),
        ("the quick brown fox jumps over the lazy dog", WARN, "words"),
        ("12345678909876543211234567890987", WARN, "bits"),
        (SECRET, OK, "32 characters"),
        (secrets.token_hex(32), OK, "64 characters"),
        (secrets.token_urlsafe(48), OK, "64 characters"),
    ],
    # By what they are: the processes of one run make different secrets, and must call the tests alike.
    ids=("example", "another-example", "one-digit", "repeated", "sentence", "digits", "letters", "hex", "urlsafe"),
)
def test_a_secret_is_judged_by_how_it_can_be_guessed(tmp_path: Path, secret: str, verdict: Verdict, words: str) -> None:
    found = findings_of(check_secrets, subject_of(tmp_path, jwt_secret=secret))

    assert [finding.verdict for finding in found] == [verdict]
    assert words in said(found, verdict)
    assert secret not in said(found, verdict)


@pytest.mark.parametrize(
    ("settings", "told", "hidden"),
    [
        ({"JWT_SECRET": "tooshort-4711"}, "JWT_SECRET: ", "4711"),
        ({"JWT_SECRET": SECRET, "PROFILE": "flux9"}, "PROFILE: ", SECRET),
        ({"JWT_SECRET": SECRET, "DATABASE_URL": "mysql://ann:hunter2@host/x"}, "DATABASE_URL: ", "hunter2"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_without_it_and_its_default_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str, hidden: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"VAR_DIR": "kept", **settings}.items():
        monkeypatch.setenv(name, value)

    subject = subject_here(device="cpu", environment={})

    faults = said(findings_of(check_settings, subject), FAIL)
    assert told in faults
    assert hidden not in faults
    assert (subject.settings.var_dir, subject.settings.profile) == (Path("kept"), "")
    assert subject.settings.sql_url.startswith("sqlite")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"redis_url": "redis://far.example:6379/0"}, "far.example is used with no password"),
        ({"database_url": "postgresql://ann:postgres@far.example/x"}, "far.example is used with a password"),
        ({"redis_url": "redis://127.0.0.1:6379/0"}, ""),
        ({"redis_url": f"redis://:{SECRET}@far.example:6379/0"}, ""),
        ({"database_url": f"postgresql://ann:{SECRET}@far.example/x"}, ""),
        ({"redis_url": "redis://:a@b:c"}, ""),
    ],
)
def test_servers_elsewhere_want_a_password_that_nobody_tries_first(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    found = findings_of(check_secrets, subject_of(tmp_path, **settings))

    assert told in said(found, WARN)
    assert bool(told) == bool(said(found, WARN))


def test_an_env_file_that_others_may_read_is_told(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("X=1\n")

    env_file.chmod(0o644)
    assert f"chmod 600 {env_file}" in said(findings_of(check_settings, subject_of(tmp_path)), WARN)

    env_file.chmod(0o600)
    assert said(findings_of(check_settings, subject_of(tmp_path)), WARN) == ""


def test_the_secret_that_stands_in_for_a_missing_one_is_not_judged(tmp_path: Path) -> None:
    problem = SettingProblem(name="JWT_SECRET", message="Field required")
    subject = subject_of(tmp_path, problems=(problem,))

    assert findings_of(check_secrets, subject) == []
    assert "JWT_SECRET: Field required" in said(findings_of(check_settings, subject), FAIL)
