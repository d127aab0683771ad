"""Runtime folders are private, and removed at the end."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from daypass.local.state import runtime_folder

KEY = "api-server.key"


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runtime folders are made."""
    base = tmp_path / "tmp"
    base.mkdir(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    return base


def test_a_runtime_folder_is_private_and_removed_at_the_end(base: Path) -> None:
    with runtime_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / KEY).touch()
    assert not list(base.iterdir())
