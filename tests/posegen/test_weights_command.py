"""`posegen models pull | list | verify`, as an operator types them: real processes against a hub of the tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import MEMBER, Hub, Repo, serving_hub

from models.tiny import tiny_folder

ROOT = Path(__file__).parents[2]
PLAIN = "import sys; from posegen.cli import main; main()"
WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "diffusers", "transformers", "numpy", "safetensors"}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model's folder."""
    return tiny_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture
def hub(tiny: Path) -> Iterator[Hub]:
    """A hub with the built-in model in FLUX.1-dev's places."""
    with serving_hub() as served:
        served.repos = {
            "a/base": Repo.of_folder(tiny / "base", gated=True),
            "a/net": Repo.of_folder(tiny / "controlnet"),
            "madebyollin/taef1": Repo({"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"preview"}),
        }
        yield served


def posegen(folder: Path, *argv: str, hub: Hub | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "JWT_SECRET": "a secret of more than thirty-two characters",
        "VAR_DIR": str(folder / "var"),
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "COLUMNS": "250",
        "MODEL_SOURCES": "flux1-dev.base=a/base, flux1-dev.controlnet=a/net",
        **({} if hub is None else {"HF_ENDPOINT": hub.url}),
        **settings,
    }
    code = f"{WITHOUT_TORCH}\nsys.argv = ['posegen', *{list(argv)!r}]\n{PLAIN}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_an_operator_pulls_lists_and_verifies_without_torch(tmp_path: Path, hub: Hub) -> None:
    refused = posegen(tmp_path, "models", "pull", hub=hub)
    assert (refused.returncode, "set it as HF_TOKEN" in refused.stderr) == (1, True), refused.stderr

    pulled = posegen(tmp_path, "models", "pull", hub=hub, HUGGINGFACE_API_KEY=MEMBER)
    assert pulled.returncode == 0, pulled.stderr
    assert "Free for non-commercial use only" in pulled.stdout
    assert f"MODEL_SOURCES=flux1-dev.controlnet=@{hub.repos['a/net'].commit}" in pulled.stdout
    assert "flux1-dev is complete." in pulled.stdout

    listed = posegen(tmp_path, "models", "list")
    assert hub.repos["a/base"].commit[:12] in listed.stdout
    assert "flux1-dev: complete" in listed.stdout
    assert "flux1-dev-unionpro: The weights of flux1-dev-unionpro were not found" in listed.stderr

    verified = posegen(tmp_path, "models", "verify", "flux1-dev")
    assert verified.returncode == 0, verified.stderr
    assert "13 files compared with their digests" in verified.stdout

    weights = next((tmp_path / "home").rglob("transformer/diffusion_pytorch_model.safetensors")).resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    damaged = posegen(tmp_path, "models", "verify")
    assert (damaged.returncode, "is not what the hub has" in damaged.stderr) == (1, True), damaged.stderr
    assert posegen(tmp_path, "models", "verify", "--quick").returncode == 0

    weights.write_bytes(content[:-1000])
    cut = posegen(tmp_path, "models", "verify", "--quick")
    assert (cut.returncode, "where its header says" in cut.stderr) == (1, True), cut.stderr


def test_a_dry_run_fetches_nothing(tmp_path: Path, hub: Hub) -> None:
    told = posegen(tmp_path, "models", "pull", "flux1-dev", "--dry-run", hub=hub, HF_TOKEN=MEMBER)
    assert (told.returncode, "to come" in told.stdout) == (0, True), told.stderr
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path]


def test_with_nothing_here_it_says_what_to_do(tmp_path: Path) -> None:
    told = posegen(tmp_path, "models", "verify")
    assert (told.returncode, "posegen models pull" in told.stderr) == (1, True)


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [(("pull", "tiny"), 0, "tiny needs nothing"), (("verify", "flux9"), 1, "There is no profile 'flux9'")],
)
def test_other_names_are_told_what_they_are(tmp_path: Path, argv: tuple[str, ...], code: int, told: str) -> None:
    done = posegen(tmp_path, "models", *argv)
    assert (done.returncode, told in done.stdout + done.stderr) == (code, True), done.stderr


def test_a_source_that_makes_no_sense_is_a_wrong_setting(tmp_path: Path) -> None:
    told = posegen(tmp_path, "models", "list", MODEL_SOURCES="tiny.base=a/b")
    assert (told.returncode, "MODEL_SOURCES" in told.stderr) == (2, True), told.stderr
