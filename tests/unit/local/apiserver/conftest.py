"""Fixtures of the embedded API server's tests."""

from __future__ import annotations

import pytest

from unit.local.apiserver.environment import Environment


@pytest.fixture
def env() -> Environment:
    """A furnished cluster."""
    return Environment().prepare_bot()
