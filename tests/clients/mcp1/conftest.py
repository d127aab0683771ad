"""An MCP server behind the gate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> str:
    return run_server(sys.executable, str(Path(__file__).with_name("server.py")), "PORT")
