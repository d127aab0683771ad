"""KServe's model server, and what arrives at it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.deadline import eventually
from support.ports import free_ports, listens

MODEL_SERVER = Path(__file__).with_name("model_server.py")


@pytest.fixture(scope="session")
def calls_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls") / "calls"


@pytest.fixture(scope="session")
def grpc_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str], grpc_port: int, calls_file: Path) -> str:
    url = run_server(sys.executable, str(MODEL_SERVER), "PORT", str(grpc_port), str(calls_file))
    eventually("it accepts gRPC", lambda: listens(grpc_port))
    return url


@pytest.fixture
def calls(calls_file: Path) -> Callable[[], list[dict[str, str]]]:
    """`calls()`: the headers of each inference of this test."""
    calls_file.write_text("")
    return lambda: [json.loads(line) for line in calls_file.read_text().splitlines()]
