"""An environment of their own for the commands, and how to run one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daypass.cli import main

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder, and no variable that would change what is done."""
    for name in list(os.environ):
        if name.startswith(("DAYPASS_", "XDG_")) or name == "KUBECONFIG":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, which must end with `code`; what it printed, read where that is JSON."""

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        ended = main([*arguments])
        printed = capsys.readouterr()
        assert ended == code, printed.err
        try:
            return json.loads(printed.out)
        except ValueError:
            return printed.out

    return run
