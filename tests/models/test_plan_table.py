"""`python -m models plan`: what it prints, and the document that is committed of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.__main__ import main
from models.memory_plan import GIB, nominal_bytes
from models.plan_table import document

ROOT = Path(__file__).parents[2]


def test_the_committed_plan_is_what_the_arithmetic_says() -> None:
    committed = (ROOT / "docs" / "memory-plan.md").read_text()
    assert committed == document(), "run: python -m models plan --markdown > docs/memory-plan.md"


def test_one_card_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--memory-gb", "24", "--profile", "flux1-dev"]) == 0
    told = capsys.readouterr().out
    for words in ("flux1-dev, 24 GB card", "text encoders  streamed", "modulation     tables", "16.1 GiB  transformer"):
        assert words in told


def test_programs_get_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--all", "--json", "--precision", "fp8"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert len(plans) == 14
    assert [plan["fits"] for plan in plans[:2]] == [False, True]
    assert "nf4" in plans[0]["error"]
    assert plans[1]["card_bytes"] == nominal_bytes(16)
    assert plans[1]["rows"]["1024x1024"] >= 1
    assert 0 < plans[1]["used_bytes"] == sum(line["bytes"] for line in plans[1]["lines"]) < 16 * GIB


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--memory-gb", "4"], "does not fit"),
        (["--memory-gb", "-1"], "more than 0 GB"),
        (["--profile", "flux9"], "flux9"),
    ],
)
def test_what_cannot_be_planned_is_an_error(asked: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *asked]) == 2
    assert said in capsys.readouterr().err


def test_a_plan_is_made_without_torch() -> None:
    code = """
import sys
from models.__main__ import main
main(["plan", "--memory-gb", "24", "--json"])
print(sorted({"torch", "numpy", "diffusers", "transformers"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
