"""Fixtures for deployments repositories: real git, real kubectl, no cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.cli import main
from support.ekf import git, make_ekf, make_repository
from support.messages import check


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the git config, repository and clusters of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin")


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
    """Run `daypass init`: it fails, names the values, and leaves the repository as it was."""

    def run(root: Path, *words: str, code: int = 1, names: tuple[str, ...], hide: str = "") -> None:
        before = snapshot(root)
        capsys.readouterr()
        assert main(["init", str(root), "--no-cluster", *words]) == code
        stderr = capsys.readouterr().err
        assert [value for value in names if value not in stderr] == []
        check(stderr, reason={1: "failed", 2: "usage"}[code], hide=hide or None)
        assert snapshot(root) == before

    return run
