"""Weights that are missing, cut or whole, and accounts that may or may not fetch them: a hub of the tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of
from support.hub import MEMBER, STRANGER, WRITER, Hub, Repo, serving_hub
from support.untrained import write_untrained

from models import mannequin
from models.tiny import tiny_folder
from posegen.doctor.subject import Subject
from posegen.doctor.weights import check_hub, check_licence, check_weights_here
from posegen.ports import free_port

SOURCES = "flux1-dev.base=a/base, flux1-dev.controlnet=a/net"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model's folder."""
    return tiny_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub with a gated base and an open ControlNet, asked by this process; nobody is logged in here."""
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving_hub() as served:
        served.repos = {"a/base": Repo({}, gated=True), "a/net": Repo({})}
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        yield served


def flux(tmp_path: Path, **settings: str) -> Subject:
    return subject_of(tmp_path, profile="flux1-dev", model_sources=SOURCES, **settings)


def test_whole_weights_are_well_and_a_cut_file_is_told(tmp_path: Path, tiny: Path) -> None:
    subject = flux(tmp_path)
    own = subject.settings.models_dir / "flux1-dev"
    shutil.copytree(tiny, own)
    assert "flux1-dev is complete" in said(findings_of(check_weights_here, subject), OK)

    file = own / "base" / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "posegen models pull flux1-dev" in said(findings_of(check_weights_here, subject), FAIL)


def test_missing_weights_are_told_as_badly_as_they_are_wanted(tmp_path: Path) -> None:
    wanted = flux(tmp_path)
    # A card that is asked for and nothing else said: workers fall back to the built-in model.
    unsaid = subject_of(tmp_path, device="cuda:0", model_sources=SOURCES)

    assert "were not found" in said(findings_of(check_weights_here, wanted), FAIL)
    assert "built-in model" in said(findings_of(check_weights_here, unsaid), WARN)
    assert "built here" in said(findings_of(check_weights_here, subject_of(tmp_path, profile="tiny")), OK)


def test_what_is_built_in_is_looked_at_as_workers_would_draw_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mannequin, "WEIGHTS", tmp_path / "weights")
    assert "tiny needs none" in said(findings_of(check_weights_here, subject_of(tmp_path)), OK)
    asked = subject_of(tmp_path, profile="mannequin")
    assert "this package has none" in said(findings_of(check_weights_here, asked), FAIL)

    write_untrained(tmp_path / "weights")
    unasked = subject_of(tmp_path)
    assert "mannequin is complete" in said(findings_of(check_weights_here, unasked), OK)
    assert "draws mannequins at 128 px" in said(findings_of(check_licence, unasked), OK)
    assert "nothing is fetched" in said(findings_of(check_hub, unasked), OK)

    next((tmp_path / "weights").rglob("transformer/*.safetensors")).unlink()
    assert "Install this version again" in said(findings_of(check_weights_here, unasked), FAIL)


def test_the_duties_of_flux_are_told_and_the_built_in_model_has_none(tmp_path: Path) -> None:
    told = said(findings_of(check_licence, flux(tmp_path)), WARN)

    for duty in ("non-commercial use only", "Black Forest Labs", "content filter", "made by AI"):
        assert duty in told
    assert "free for every use" in said(findings_of(check_licence, subject_of(tmp_path)), OK)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("", "set it as HF_TOKEN"),
        (STRANGER, "has not accepted the licence of a/base"),
        ("hf_of_nobody", "does not accept the token"),
    ],
)
def test_an_account_that_may_not_fetch_is_told_what_to_do(tmp_path: Path, hub: Hub, token: str, told: str) -> None:
    assert told in said(findings_of(check_hub, flux(tmp_path, hf_token=token)), FAIL)


def test_once_the_weights_are_here_the_account_matters_less(tmp_path: Path, hub: Hub, tiny: Path) -> None:
    subject = flux(tmp_path, hf_token=STRANGER)
    shutil.copytree(tiny, subject.settings.models_dir / "flux1-dev")

    assert "has not accepted the licence" in said(findings_of(check_hub, subject), WARN)


def test_an_account_that_accepted_is_well_and_a_token_that_may_write_is_told(tmp_path: Path, hub: Hub) -> None:
    reader = findings_of(check_hub, flux(tmp_path, hf_token=MEMBER))
    writer = findings_of(check_hub, flux(tmp_path, huggingface_api_key=WRITER))

    assert {finding.verdict for finding in reader} == {OK}
    assert "the token's role is read" in said(reader, OK)
    assert "may also write" in said(writer, WARN)
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path]


def test_where_the_hub_cannot_be_asked_that_is_told(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = flux(tmp_path, hf_token=MEMBER)
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE is set" in said(findings_of(check_hub, subject), WARN)
    assert hub.asked == []

    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert "the hub is away" in said(findings_of(check_hub, subject), WARN)
