"""Fixtures for deployments repositories: real git, real kubectl, no cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from git.ekf import make_ekf
from support.children import path_without
from support.repositories import make_repository


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
