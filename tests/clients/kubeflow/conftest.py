"""A model registry and a folder of files, both behind the gate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def pytest_configure(config: pytest.Config) -> None:
    """Kubeflow's packages use what is deprecated, from the moment that they are imported."""
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> str:
    path = f"{ROOT / 'tests'}:{ROOT}"
    program = Path(__file__).with_name("server.py")
    return run_server(sys.executable, str(program), "PORT", environment={"PYTHONPATH": path})


@pytest.fixture
def url(gate: str) -> str:
    """The service behind the gate."""
    return gate
