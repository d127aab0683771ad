"""What the tests of token files share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["file", "volume"])
def layout(request: pytest.FixtureRequest) -> str:
    """Both ways of putting a file in place."""
    return str(request.param)
