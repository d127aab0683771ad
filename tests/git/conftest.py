"""Fixtures for deployments repositories: real git, real kubectl, no cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.children import path_without
from support.ekf import adopt, git, make_ekf, make_repository
from support.messages import check


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the git config, repository and clusters of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv(
        "PATH", f"{Path(sys.executable).parent}{os.pathsep}{path_without('rok-deploy')}"
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A deployments repository with one commit."""
    root = tmp_path / "deployments"
    root.mkdir()
    return make_repository(make_ekf(root))


def snapshot(root: Path) -> tuple[str, str, dict[Path, bytes]]:
    """The repository: HEAD, what is staged and what is not, and all files."""
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return (
        git(root, "rev-parse", "HEAD"),
        git(root, "status", "--porcelain", "--untracked-files=all"),
        {path: path.read_bytes() for path in files},
    )


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run `adopt`: it fails, names the values, and leaves the repository as it was."""

    def run(root: Path, what: str, *words: str, names: tuple[str, ...], code: int = 1) -> None:
        before = snapshot(root)
        capsys.readouterr()
        assert adopt(root, what, *words) == code
        stderr = capsys.readouterr().err
        check(stderr, *names, reason={1: "failed", 2: "usage"}[code])
        assert snapshot(root) == before

    return run
