"""The house's own rules: who may import what, what is where, and that the rules are seen to bite."""

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from posegen import statuses

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "posegen", "gpu_worker", "api")
REDIS_MODULES = {"posegen/bell.py", "posegen/channel.py"}
"""Where redis is talked to; gpu_worker beside them, because RQ's worker shows redis' errors."""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    lint = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [lint, "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "250"},
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to plant bad imports in."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def imports_of(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_the_import_contracts_hold() -> None:
    told = lint_imports(ROOT)

    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("models", "posegen.prices"),
        ("models", "redis"),
        ("posegen", "models.engine"),
        ("posegen", "api"),
        ("posegen", "torch"),
        ("posegen", "fastapi"),
        ("api", "gpu_worker.jobs"),
        ("api", "torch"),
        ("gpu_worker", "api"),
    ],
)
def test_a_planted_bad_import_breaks_a_contract(copy: Path, importer: str, imported: str) -> None:
    planted = copy / importer / "planted.py"
    planted.write_text(f'"""Planted."""\n\nimport {imported}\n')
    try:
        told = lint_imports(copy)
    finally:
        planted.unlink()

    assert told.returncode != 0
    assert re.search(rf"{importer}\.planted\s+->\s+{imported.split('.')[0]}", told.stdout), told.stdout


def test_torch_planted_in_the_memory_plan_breaks_a_contract(copy: Path) -> None:
    plan = copy / "models" / "memory_plan.py"
    clean = plan.read_text()
    plan.write_text(clean.replace("from dataclasses", "import torch  # planted\nfrom dataclasses", 1))
    try:
        told = lint_imports(copy)
    finally:
        plan.write_text(clean)

    assert told.returncode != 0
    assert re.search(r"models\.memory_plan\s+->\s+torch", told.stdout), told.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_our_generic_names_mean_the_packages_of_this_repository(package: str) -> None:
    found = importlib.import_module(package).__file__

    assert found is not None
    assert Path(found).resolve() == ROOT / package / "__init__.py"


def test_redis_and_rq_are_imported_in_a_few_places_only() -> None:
    users = {
        source.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for source in (ROOT / package).rglob("*.py")
        if any(name.split(".")[0] in {"redis", "rq"} for name in imports_of(source))
    }

    assert {user for user in users if not user.startswith("gpu_worker/")} == REDIS_MODULES
    assert len(users) <= 4


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        source.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for source in (ROOT / package).rglob("*.py")
        if re.search(r"os\.(environ|getenv)\b", source.read_text())
    }

    # The doctor hands on what a worker would be started in, CUDA_VISIBLE_DEVICES above all: it is what it examines.
    assert readers <= {"models/devices.py", "models/__main__.py", "posegen/doctor/command.py"}, readers


def test_the_domain_is_imported_without_torch_and_web() -> None:
    modules = [
        ".".join(source.relative_to(ROOT).with_suffix("").parts)
        for source in (ROOT / "posegen").rglob("*.py")
        if source.name not in {"__init__.py", "__main__.py", "env.py"} and "versions" not in source.parts
    ]
    probe = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'numpy', 'diffusers', 'transformers', 'fastapi', 'socketio'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_every_status_and_event_says_what_it_means() -> None:
    source = inspect.getsource(statuses)
    members = [
        member
        for value in vars(statuses).values()
        if inspect.isclass(value) and issubclass(value, StrEnum) and value is not StrEnum
        for member in value
    ]

    assert len(members) > 20
    undocumented = [
        f"{type(member).__name__}.{member.name}"
        for member in members
        if not re.search(rf'^    {member.name} = "{member.value}"  # \S.{{3,}}$', source, re.MULTILINE)
    ]
    assert undocumented == []


def test_no_module_is_called_by_what_it_is_not() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "data", "info", "misc"}

    named = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.stem in vague]

    assert named == []


def test_every_module_of_the_packages_says_what_it_is_for() -> None:
    silent = [
        source.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for source in (ROOT / package).rglob("*.py")
        if source.read_text().strip() and not ast.get_docstring(ast.parse(source.read_text()))
    ]

    assert silent == []
