"""Which path Envoy Gateway asks the authorizer about: the one that it leads on to, byte for byte,
after the prefix of the gate, whatever a client writes.

A stand-in for the authorizer lets everything pass, and keeps what it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controllers.gateway_environment import DOORS, HOST, PUBLIC, GatewayEnv, config, gate
from daypass.render.names import GATE, gate_prefix
from daypass.rules.models import MODEL_HEADERS
from support.clusters import apply
from support.deadline import eventually
from support.envoy_gateway import endpoints
from support.hostile_targets import HOSTILE_PATHS
from support.raw import Answer, connect, exchange
from support.recorder import Recorded, Recorder, answer_with

pytestmark = pytest.mark.timeout(1800)

ALLOWED = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
    b"kubeflow-userid: system:serviceaccount:team:bot\r\n\r\n"
)
PREFIX = gate_prefix("default")
OF_ANOTHER_GATE = (
    "/gate/other//x", "//gate/other//x", "/../gate/other//x", "/../../gate/other//x",
    "/%2e%2e/gate/other//x", "/..%2fgate/other//x", "/..;/gate/other//x", "/.//../gate/other//x",
    "/gate/default/../other//x", "gate/other//x", "*", "other//x", "..//gate/other//x",
    f"http://{HOST}/gate/other//x", f"http://{HOST}", f"http://{HOST}/../../gate/other//x",
    "http://gate/other//x", "/\\..\\..\\gate\\other\\\\x", "?/gate/other//x",
)  # fmt: skip
"""Targets by which a client might name a gate to the authorizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The Gateway with a stand-in for the authorizer."""

    env: GatewayEnv
    authorizer: Recorder

    def send(self, target: str, *lines: str) -> tuple[Answer, list[Recorded]]:
        """The answer to a GET of a target as it is, and what the authorizer was asked for it."""
        head = "".join(f"{line}\r\n" for line in (f"Host: {HOST}", *lines))
        self.authorizer.take()
        with connect(self.env.port, authority_pem=PUBLIC.pem, name=HOST) as connection:
            answer = exchange(connection, f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        return answer, self.authorizer.take()


@pytest.fixture(scope="module")
def asking(env: GatewayEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    assert env.usual is not None
    names = (f"{GATE}.{DOORS}.svc",)
    folder: Path = tmp_path_factory.mktemp("recorder")
    with Recorder(env.authority, folder, names) as recorder:
        recorder.behave = answer_with(ALLOWED)
        asking = Asking(env=env, authorizer=recorder)
        narrow = config(f"check: review, audiences: {{alice: [{HOST}/alice/]}}")
        try:
            apply(env.plane, endpoints(GATE, DOORS, recorder.port), gate("SecurityPolicy", narrow))
            header = f"{MODEL_HEADERS[0]}: x"
            eventually(
                "it is asked", lambda: header in str(asking.send("/", header)[1]), seconds=60
            )
            yield asking
        finally:
            apply(env.plane, endpoints(GATE, DOORS, env.usual.port), gate("SecurityPolicy"))
            env.wait()


def asked_path(recorded: Recorded) -> str:
    method, target, version = recorded.request_line.split(" ")
    assert (method, version) == ("GET", "HTTP/1.1")
    assert target.startswith(PREFIX)
    return target.removeprefix(PREFIX)


@pytest.mark.parametrize("target", [*OF_ANOTHER_GATE, *HOSTILE_PATHS])
def test_the_authorizer_is_asked_about_the_path_that_arrives(asking: Asking, target: str) -> None:
    answer, asked = asking.send(target)
    if answer.code != 200:
        assert (answer.code in (307, 400, 404), asked) == (True, [])
        return
    (only,) = asked
    assert asked_path(only) == answer.json["path"]
    assert asked_path(only).startswith("/")


def test_it_gets_what_decides_and_nothing_else_of_a_client(asking: Asking) -> None:
    lines = (
        "Authorization: Bearer a.b.c", "Cookie: session=alice", "kubeflow-userid: admin",
        "X-Gateway-Model-Name: one", "x-gateway-model-name: two",
        "X-Gateway-Destination-Endpoint: 10.0.0.1", "X-Prefiller-Host-Port: 10.0.0.1:80",
        "X-Envoy-External-Address: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.9", "X-Envoy-Original-Path: /gate/other//x",
    )  # fmt: skip
    _, (only,) = asking.send("/x", *lines)
    headers = dict(only.headers)
    assert headers["authorization"] == "Bearer a.b.c"
    assert headers["x-gateway-model-name"] == "one,two"
    assert headers["x-gateway-destination-endpoint"] == "10.0.0.1"
    assert headers["x-prefiller-host-port"] == "10.0.0.1:80"
    assert headers["x-envoy-external-address"] != "203.0.113.9"
    assert headers["host"] == HOST
    others = {name for name in headers if not name.startswith("x-envoy-")}
    assert others == {
        "authorization", "content-length", "host", "x-gateway-model-name",
        "x-gateway-destination-endpoint", "x-prefiller-host-port",
    }  # fmt: skip
