"""KServe's model server, which speaks Triton's protocol, and what arrives at it.

It is in a process of its own, also because KServe and tritonclient's gRPC cannot be imported into
one: both define the messages of the protocol.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.deadline import eventually
from support.ports import free_ports, listens

MODEL_SERVER = Path(__file__).parent.with_name("kserve") / "model_server.py"
LIMIT_BYTES = 1 << 28
"""Of a gRPC message. KServe's own is 8 MiB."""


@pytest.fixture(scope="session")
def calls_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls") / "calls"


@pytest.fixture(scope="session")
def grpc_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str], grpc_port: int, calls_file: Path) -> str:
    limits = [f"--grpc_max_{each}_message_length={LIMIT_BYTES}" for each in ("send", "receive")]
    arguments = ["PORT", str(grpc_port), str(calls_file), *limits]
    url = run_server(sys.executable, str(MODEL_SERVER), *arguments)
    eventually("it accepts gRPC", lambda: listens(grpc_port))
    return url


@pytest.fixture
def calls(calls_file: Path) -> Callable[[], list[dict[str, str]]]:
    """`calls()`: the headers of each inference of this test."""
    calls_file.write_text("")
    return lambda: [json.loads(line) for line in calls_file.read_text().splitlines()]


@pytest.fixture
def host(gate: str) -> str:
    return gate.removeprefix("https://")
