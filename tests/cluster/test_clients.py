"""A long-lived token of the real API server, traded through the door, as people do it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import daypass
from daypass._core.jwt import decode_unverified
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.up import Up

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"


@pytest.fixture(scope="module")
def identity(control_plane: ControlPlane) -> Identity:
    """A bot with a long-lived token."""
    return control_plane.make_identity()


@pytest.fixture
def credentials_file(up: Up, identity: Identity, tmp_path: Path) -> Path:
    """What an admin hands to the bot."""
    file = tmp_path / "bot.json"
    document = {
        "type": "daypass",
        "version": 1,
        "door": up.door,
        "certificateAuthority": up.authority_file.read_text(),
        "token": identity.token.reveal(),
        "audience": AUDIENCE,
        "lifetimeSeconds": 1800,
    }
    file.touch(0o600)
    file.write_text(json.dumps(document))
    return file


def run(
    *command: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def claims_of(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]


def test_the_library_gets_a_token_bound_to_the_secret(
    credentials_file: Path, identity: Identity, control_plane: ControlPlane
) -> None:
    token = daypass.Credentials.from_file(credentials_file).token()
    claims = claims_of(token.value.reveal())
    assert claims["aud"] == [AUDIENCE]
    assert claims["exp"] - claims["iat"] == 1800
    assert claims["kubernetes.io"]["secret"]["name"] == identity.secret_name
    assert claims["kubernetes.io"]["secret"]["uid"] == identity.secret_uid
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token.value.reveal(), "audiences": [AUDIENCE]},
    }
    reviewed = control_plane.admin.create("/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert reviewed["status"]["authenticated"] is True
    assert reviewed["status"]["user"]["username"] == identity.user


def test_the_library_does_the_same_without_holding_up_an_event_loop(
    credentials_file: Path, identity: Identity
) -> None:
    async def several() -> list[daypass.Token]:
        credentials = daypass.Credentials.from_file(credentials_file)
        return await asyncio.gather(*(credentials.token_async() for _ in range(5)))

    tokens = asyncio.run(several())
    assert len({token.value.reveal() for token in tokens}) == 1
    assert claims_of(tokens[0].value.reveal())["sub"] == identity.user


def test_the_command_prints_a_token_and_the_second_time_the_same_one(
    credentials_file: Path, tmp_path: Path, identity: Identity
) -> None:
    environment = {
        "DAYPASS_CREDENTIALS": str(credentials_file),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    first = run(sys.executable, "-m", "daypass", "token", environment=environment)
    second = run(sys.executable, "-m", "daypass", "token", environment=environment)
    assert (first.returncode, first.stderr) == (0, "")
    assert claims_of(first.stdout.strip())["sub"] == identity.user
    assert second.stdout == first.stdout


def test_a_shorter_granted_lifetime_is_honoured_and_warned_about(credentials_file: Path) -> None:
    token = daypass.Credentials.from_file(credentials_file).token(lifetime_seconds=90_000)
    claims = claims_of(token.value.reveal())
    assert token.expires_at.timestamp() == claims["exp"]
    assert claims["exp"] - claims["iat"] == 86_400
    assert token.warnings == ("requested expiration of 90000 seconds shortened to 86400 seconds",)


@pytest.mark.parametrize("bound", [False, True])
def test_the_real_kubectl_gets_a_token(up: Up, identity: Identity, bound: bool) -> None:
    binding = ["--bound-object-kind", "Secret", "--bound-object-name", identity.secret_name]
    made = run(
        "kubectl", "-n", identity.namespace, "create", "token", identity.service_account,
        "--audience", AUDIENCE, "--server", up.door,
        "--certificate-authority", str(up.authority_file), "--token", identity.token.reveal(),
        *(binding if bound else []),
        environment={"KUBECONFIG": "/nowhere"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    claims = claims_of(made.stdout.strip())
    assert claims["aud"] == [AUDIENCE]
    assert ("secret" in claims["kubernetes.io"]) is bound


@pytest.mark.parametrize("what", ["secrets", "pods", "namespaces"])
def test_the_real_kubectl_gets_nothing_else(up: Up, identity: Identity, what: str) -> None:
    asked = run(
        "kubectl", "-n", identity.namespace, "get", what, "--server", up.door,
        "--certificate-authority", str(up.authority_file), "--token", identity.token.reveal(),
        environment={"KUBECONFIG": "/nowhere"},
    )  # fmt: skip
    assert asked.returncode == 1
    assert asked.stdout == ""
    assert "the server could not find the requested resource" in asked.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_python_client_gets_a_token(up: Up, identity: Identity) -> None:
    from kubernetes import client

    configuration = client.Configuration()
    configuration.host = up.door
    configuration.ssl_ca_cert = str(up.authority_file)
    configuration.api_key = {"authorization": f"Bearer {identity.token.reveal()}"}
    with client.ApiClient(configuration) as api:
        body = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(
                audiences=[AUDIENCE],
                bound_object_ref=client.V1BoundObjectReference(
                    api_version="v1", kind="Secret", name=identity.secret_name
                ),
            )
        )
        answer = client.CoreV1Api(api).create_namespaced_service_account_token(
            identity.service_account, identity.namespace, body
        )
    assert answer.status is not None
    assert claims_of(str(answer.status.token))["sub"] == identity.user


def test_curl_without_a_token_sees_the_api_servers_own_403(up: Up) -> None:
    url = f"{up.door}/api/v1/namespaces/default/serviceaccounts/default/token"
    answer = run("curl", "-sS", "--cacert", str(up.authority_file), url)
    status = json.loads(answer.stdout)
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 403, "Forbidden")
    assert status["message"].startswith(
        'serviceaccounts "default" is forbidden: User "system:anonymous" cannot get resource '
        '"serviceaccounts/token"'
    )


def test_curl_alone_is_enough_for_an_exchange(up: Up, identity: Identity, tmp_path: Path) -> None:
    header = tmp_path / "header"
    header.touch(0o600)
    header.write_text(f"Authorization: Bearer {identity.token.reveal()}")
    request = {
        "spec": {
            "audiences": [AUDIENCE],
            "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": identity.secret_name},
        }
    }
    answer = run(
        "curl", "-sS", "--cacert", str(up.authority_file), "-H", f"@{header}",
        "-H", "Content-Type: application/json", "-d", json.dumps(request),
        f"{up.door}{identity.token_path}",
    )  # fmt: skip
    claims = claims_of(json.loads(answer.stdout)["status"]["token"])
    assert claims["kubernetes.io"]["secret"]["uid"] == identity.secret_uid


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
