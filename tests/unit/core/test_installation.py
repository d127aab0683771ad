"""Hints on extras and docs fit how this copy of daypass was installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daypass._core.hints import docs_page, how_to_install
from support.children import path_without

ROOT = Path(__file__).parents[3]
UV = Path(sys.executable).with_name("uv")
MISSING = "from daypass import MissingExtraError as E; print(E('x', 'local').hint)"


def run(
    *words: str | Path, cwd: Path, path: Path | None = None, programs: Path | None = None
) -> str:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True, text=True, check=True, cwd=cwd, timeout=120,
        env={"PATH": os.pathsep.join([*([str(programs)] if programs else []), path_without("uv")])}
        | ({} if path is None else {"PYTHONPATH": str(path)}),
    ).stdout.strip()  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which only a wheel of this checkout is installed."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "venv" / "bin" / "python"
    for words in (
        ["venv", "-p", sys.executable, str(folder / "venv")],
        ["pip", "install", "--offline", "--no-deps", "--python", str(python), str(ROOT)],
    ):
        subprocess.run([UV, *words, "--quiet"], check=True, timeout=120)
    return python


def test_a_checkout_names_itself(tmp_path: Path) -> None:
    assert how_to_install("local").endswith(f" -e '{ROOT}[local]'")
    assert (
        Path(docs_page("how-to/ingresses/ingress.md")) == ROOT / "docs/how-to/ingresses/ingress.md"
    )
    copied = run(sys.executable, "-S", "-c", MISSING, cwd=tmp_path, path=ROOT / "src")
    assert copied.endswith(f" -e '{ROOT}[local]'")


def test_an_installed_copy_names_the_extra_and_its_own_docs(
    installed: Path, tmp_path: Path
) -> None:
    words = run(installed, "-c", MISSING, cwd=tmp_path)
    assert "`local`" in words
    assert "pip" not in words
    text = run(installed.with_name("daypass"), "help", "apply", cwd=tmp_path)
    (named,) = re.findall(r"\S*/docs\S*", text)
    assert Path(named).is_relative_to(installed.parents[1])
    assert Path(named).exists()


FROM_AN_INDEX = re.compile(r"(pip install|uv add|pipx install)\b[^\n#]*[\s'\"]daypass(?![-\w.])")


def test_no_page_or_program_installs_daypass_from_an_index() -> None:
    places = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "Makefile", "Containerfile"]
    files = [ROOT / name for name in places]
    for folder in ("docs", "examples", "src", "tools"):
        files += [it for it in (ROOT / folder).rglob("*.*") if it.suffix in (".md", ".py", ".sh")]
    found = [str(it) for it in files if FROM_AN_INDEX.search(it.read_text())]
    assert found == []
    assert FROM_AN_INDEX.search("pip install 'daypass[local]'")
