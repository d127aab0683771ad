"""Each of the three checks before the embedded API server, and a change between them."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass.local.stack import LocalStack, stack_config
from support.deadline import eventually

CHECKS = ("jwt", "review", "both")


def config(check: str) -> str:
    return stack_config().replace("engine: envoy,", f"engine: envoy, check: {check},")


@pytest.fixture(params=CHECKS)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    folder: Path = tmp_path_factory.mktemp("s")
    with LocalStack(folder, config=config(request.param)) as running:
        yield running


def code(stack: LocalStack, token: str) -> int:
    """Of a request with this token."""
    context = ssl.create_default_context(cafile=str(stack.authority_file))  # noqa: TID251
    port = stack.supervisor.edge.ports["gate"]
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_token_passes_until_its_secret_is_deleted(stack: LocalStack) -> None:
    identity = stack.make_identity()
    token = stack.make_token(identity).reveal()
    assert code(stack, token) == 200
    assert code(stack, stack.make_token(identity, bound=False).reveal()) == 403
    assert code(stack, stack.make_token(identity, expired=True).reveal()) == 401
    stack.revoke(identity)
    eventually("it is refused", lambda: code(stack, token) == 401)


def test_the_check_changes_while_it_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    with LocalStack(tmp_path_factory.mktemp("s"), config=config("jwt")) as stack:
        identity = stack.make_identity()
        token = stack.make_token(identity).reveal()
        other = stack.make_token(identity, audiences=["other"]).reveal()
        for check in ("review", "both", "jwt", "both", "review"):
            stack.config_file.write_text(config(check))
            stack.supervisor.look(threading.Event(), force=True)
            assert stack.said[-1].endswith("has changed and is in force"), stack.said
            assert code(stack, token) == 200
            assert code(stack, other) == 403
        stack.revoke(identity)
        eventually("it is refused", lambda: code(stack, token) == 401)
