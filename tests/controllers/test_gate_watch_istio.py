"""The gate of a cluster, end to end: a real API server, `gate watch`, istiod and its Envoy.

Tokens come from TokenRequest; Secrets are deleted as anybody would; connections stay open.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.cli import main
from daypass.rules.reasons import MESSAGES, Reason
from support.deadline import eventually
from support.identities import Identity
from support.istio_gates import GUARDED, IstioEnv, running_istio_gate
from support.raw import Answer, Caller, bearer
from support.tokens import AUDIENCE
from support.watching import Watch, becomes_removed, identity_namespace, install

pytestmark = pytest.mark.timeout(600)

CLOSE_AFTER_SECONDS = 20
SLACK_SECONDS = 3.0
"""For processes that are waited for, on a machine that is busy."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    folder, text = tmp_path_factory.mktemp("gate"), f"closeAfter: {CLOSE_AFTER_SECONDS}s"
    with running_istio_gate(folder, watch=text) as running:
        install(running.plane, running.config)
        yield running


@pytest.fixture
def watch(gate: IstioEnv, tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path / "watch", gate.plane, gate.config) as running:
        running.wait_leading()
        yield running


@contextmanager
def calling(gate: IstioEnv, identity: Identity, **shape: Any) -> Iterator[Caller]:
    token = gate.plane.make_token(identity, **{"audiences": [AUDIENCE], **shape})
    with gate.conversation() as conversation:
        yield Caller(conversation, GUARDED, token)


def kubectl(gate: IstioEnv, *words: str) -> None:
    program = Path(sys.executable).with_name("kubectl")
    command = [str(program), "--kubeconfig", str(gate.plane.kubeconfig), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def assert_reason(answer: Answer, reason: Reason) -> None:
    assert answer.json["message"].startswith(MESSAGES[reason]), answer


def seconds_since(began: float) -> float:
    return SYSTEM_CLOCK.monotonic() - began


def test_what_exists_passes_and_what_is_gone_is_refused_through_restarts_and_failures(
    gate: IstioEnv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = identity_namespace(gate.plane)
    with Watch(tmp_path / "watch", gate.plane, gate.config) as watch:
        watch.wait_leading()
        one, other = (gate.plane.make_identity(namespace, name) for name in ("one", "other"))
        with calling(gate, one) as caller, calling(gate, other) as bystander:
            caller.becomes(200)
            bystander.becomes(200)
            gone, there = caller.token, bystander.token
            kubectl(gate, "delete", "secret", one.secret_name, "-n", namespace)
            began = SYSTEM_CLOCK.monotonic()
            assert_reason(caller.becomes(401), Reason.UNKNOWN_CREDENTIAL)
            assert seconds_since(began) <= 1 + SLACK_SECONDS
            assert bystander.ask().code == 200
        watch.kill()
    gate.gateway.istiod.stop()
    gate.gateway.stop_envoy()
    gate.gateway.istiod.start()
    gate.gateway.start_envoy()
    with Watch(tmp_path / "next", gate.plane, gate.config) as watch:
        watch.wait_leading()

        refused: list[int] = []

        def code(token: Any) -> int:
            return gate.send(bearer(token)).code

        def is_known() -> bool:
            """Each is in a part of its own, which opens in its own time."""
            refused.append(code(gone))
            return (code(there), refused[-1]) == (200, 401)

        eventually("what exists is known, and what is gone", is_known)
        began = SYSTEM_CLOCK.monotonic()
        watch.kill()  # nobody can say any more that it is to close
        # Each part has its own closing time.
        eventually("it is closed", lambda: code(there) == code(gone) == 503)
        assert seconds_since(began) <= CLOSE_AFTER_SECONDS + SLACK_SECONDS
        assert gate.send(host="other.example.com", sni="other.example.com").code == 200
    config = ["--config", str(tmp_path / "next" / "daypass.yaml")]
    access = ["--kubeconfig", str(gate.plane.kubeconfig)]
    assert main(["gate", "watch", "--once", *config, *access]) == 0
    eventually("what exists is known, and what is gone", is_known)
    assert set(refused) <= {401, 503}
    capsys.readouterr()


def test_keys_and_the_set_outlive_istiod(gate: IstioEnv, watch: Watch) -> None:
    namespace = identity_namespace(gate.plane)
    one, other = (gate.plane.make_identity(namespace, name) for name in ("one", "other"))
    with calling(gate, one) as caller, calling(gate, other) as bystander:
        caller.becomes(200)
        bystander.becomes(200)
        gate.gateway.istiod.stop()
        gate.plane.admin.delete(one.secret_path)
        becomes_removed(gate.plane, one.secret_uid)
        assert bystander.ask().code == 200
        gate.gateway.istiod.start()
        assert_reason(caller.becomes(401), Reason.UNKNOWN_CREDENTIAL)
        bystander.becomes(200)


def test_while_the_watch_hangs_the_gate_closes_and_opens_again(
    gate: IstioEnv, watch: Watch
) -> None:
    identity = gate.plane.make_identity(identity_namespace(gate.plane))
    with calling(gate, identity) as caller:
        caller.becomes(200)
        with watch.child.suspended():
            assert_reason(caller.becomes(503), Reason.UNKNOWN)
        caller.becomes(200)
