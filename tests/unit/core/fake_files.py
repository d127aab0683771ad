"""Files that appear to be of another user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest


def owned_by(monkeypatch: pytest.MonkeyPatch, user: int, file: Path) -> None:
    """Make a file appear to be owned by `user` when it is open."""
    real, number = os.fstat, file.stat().st_ino

    def fstat(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        if status[stat.ST_INO] == number:
            status[stat.ST_UID] = user
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat)
