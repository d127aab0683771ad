"""Fixtures of the embedded API server's tests."""

from __future__ import annotations

import pytest

from unit.local.apiserver.world import World


@pytest.fixture
def world() -> World:
    """A furnished cluster."""
    return World().furnish()
