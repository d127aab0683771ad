"""The server of `../mcp`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> str:
    program = Path(__file__).parent.with_name("mcp") / "server.py"
    return run_server(sys.executable, str(program), "PORT")
