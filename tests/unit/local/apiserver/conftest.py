"""Fixtures of the embedded API server's tests."""

from __future__ import annotations

import pytest

from unit.local.apiserver.environment import Env


@pytest.fixture
def env() -> Env:
    """A furnished cluster."""
    return Env().prepare_bot()
