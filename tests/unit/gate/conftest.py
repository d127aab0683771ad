"""For tests of watches on an API server."""

from __future__ import annotations

import pytest

from daypass.kube import watching


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """List again soon after a failure."""
    monkeypatch.setattr(watching, "LONGEST_PAUSE_SECONDS", 0.1)
