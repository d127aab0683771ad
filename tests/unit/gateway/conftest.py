"""For tests of what follows an API server."""

from __future__ import annotations

import pytest

from daypass.gateway import feed


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches of a fake API server end at once, and each is begun again soon."""
    monkeypatch.setattr(feed, "LONGEST_PAUSE_SECONDS", 0.1)
