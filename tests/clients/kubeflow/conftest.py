"""A model registry and a folder of files, both behind the gate."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Kubeflow's packages use what is deprecated, from the moment that they are imported."""
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")


@pytest.fixture
def url(gate: str) -> str:
    """The service behind the gate."""
    return gate
