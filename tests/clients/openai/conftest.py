"""A model behind the gate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> str:
    program = str(Path(__file__).with_name("server.py"))
    return run_server(sys.executable, program, "PORT", environment={"PYTHONPATH": str(TESTS)})
