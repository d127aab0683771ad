"""A long-lived token of the real API server, exchanged at the door, as people do it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import daypass
from cluster.conftest import write_credentials
from daypass._core.jwt import decode_unverified
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.programs import run
from support.up import Up

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"


@pytest.fixture
def credentials(up: Up, identity: Identity, tmp_path: Path) -> daypass.Credentials:
    file = tmp_path / "bot.json"
    write_credentials(file, up, identity, audience=AUDIENCE, lifetimeSeconds=1800)
    return daypass.Credentials.from_file(file)


def kubectl(up: Up, identity: Identity, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl in the identity's namespace with its long-lived token, the door its server."""
    return run(
        "kubectl", "-n", identity.namespace, *words, "--server", up.door,
        "--certificate-authority", str(up.authority_file), "--token", identity.token.reveal(),
        environment={"KUBECONFIG": "/nowhere"},
    )  # fmt: skip


def claims_of(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]


def test_a_shorter_granted_lifetime_is_honoured(
    credentials: daypass.Credentials,
) -> None:
    token = credentials.token(lifetime_seconds=90_000)
    claims = claims_of(token.value.reveal())
    assert token.expires_at.timestamp() == claims["exp"]
    assert claims["exp"] - claims["iat"] == 86_400


@pytest.mark.parametrize("bound", [False, True])
def test_the_real_kubectl_gets_a_token(up: Up, identity: Identity, bound: bool) -> None:
    binding = ["--bound-object-kind", "Secret", "--bound-object-name", identity.secret_name]
    create = ["create", "token", identity.service_account, "--audience", AUDIENCE]
    made = kubectl(up, identity, *create, *(binding if bound else []))
    assert made.returncode == 0, made.stderr
    claims = claims_of(made.stdout.strip())
    assert claims["aud"] == [AUDIENCE]
    assert ("secret" in claims["kubernetes.io"]) is bound


@pytest.mark.parametrize("what", ["secrets", "pods", "namespaces"])
def test_the_real_kubectl_gets_nothing_else(up: Up, identity: Identity, what: str) -> None:
    asked = kubectl(up, identity, "get", what)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "the server could not find the requested resource" in asked.stderr


def test_the_audit_log_of_the_api_server_shows_the_client_and_not_what_it_claims(
    up: Up, control_plane: ControlPlane
) -> None:
    since = control_plane.audit_position()
    namespace = "audited"
    answer = run(
        "curl", "-sS", "--cacert", str(up.authority_file), "-H", "X-Forwarded-For: 203.0.113.9",
        "-H", "X-Real-Ip: 203.0.113.10", "-A", "seen-by-audit",
        f"{up.door}/api/v1/namespaces/{namespace}/serviceaccounts/x/token",
    )  # fmt: skip
    assert answer.returncode == 0

    def seen() -> list[dict[str, Any]]:
        events = control_plane.audit_events(since=since)
        return [event for event in events if event.get("userAgent") == "seen-by-audit"]

    (event,) = eventually("the request is in the audit log", seen)
    assert event["sourceIPs"] == ["127.0.0.1"]
