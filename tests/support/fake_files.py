"""Files that appear to be of another user."""

from __future__ import annotations

import os
import stat

import pytest


def owned_by(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """Make every open file appear to be owned by `user`."""
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[stat.ST_UID] = user
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat)
