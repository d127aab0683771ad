"""The requests of the real kubectl, and the responses of the API server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.calls import GATE, bearer, claims, issued_token, needs
from contract.interface import ApiServer, send
from contract.refuser import Refuser
from daypass._core.secret import Secret
from support.identities import Identity

PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.fixture
def refuser(tmp_path: Path) -> Iterator[Refuser]:
    """A server that takes no body and keeps what it is sent."""
    with Refuser(tmp_path) as server:
        yield server


def create_token(
    folder: Path, url: str, authority: Path, token: Secret, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """`kubectl create token`, with nothing of this machine's settings."""
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    config = ["--kubeconfig", "/dev/null", "--cache-dir", str(folder / "cache")]
    server = ["--server", url, "--certificate-authority", str(authority)]
    return subprocess.run(
        [kubectl, *config, *server, "--token", token.reveal(), "create", "token", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"HOME": str(folder)},
    )


@needs("protobuf")
def test_the_token_request_of_kubectl_is_answered(
    api_server: ApiServer, bot: Identity, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(api_server.ca_pem)
    place = ["bot", "-n", bot.namespace, "--audience", GATE, "--duration", "30m"]
    made = create_token(tmp_path, api_server.url, authority, bot.token, *place)
    token = claims(Secret(made.stdout.strip()))
    assert (token["aud"], token["exp"] - token["iat"]) == ([GATE], 1800)


@needs("protobuf")
def test_kubectl_requests_a_bound_token(
    api_server: ApiServer, bot: Identity, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(api_server.ca_pem)
    kind = ["--bound-object-kind", "Secret", "--bound-object-name", bot.secret_name]
    place = ["bot", "-n", bot.namespace, *kind]
    made = create_token(tmp_path, api_server.url, authority, bot.token, *place)
    secret = claims(Secret(made.stdout.strip()))["kubernetes.io"]["secret"]
    assert secret == {"name": bot.secret_name, "uid": bot.secret_uid}


def test_kubectl_sends_one_protobuf_request_to_the_tokens_path(
    refuser: Refuser, tmp_path: Path
) -> None:
    asked = _ask(refuser, tmp_path, "--audience", GATE)
    assert asked.returncode != 0
    (request,) = refuser.refused
    line = "POST /kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token HTTP/1.1"
    assert request.line == line
    assert request.content_type == PROTOBUF
    assert request.body.startswith(b"k8s\x00")


def test_kubectl_does_not_fall_back_to_json_if_protobuf_is_refused(
    refuser: Refuser, tmp_path: Path
) -> None:
    asked = _ask(refuser, tmp_path)
    assert asked.returncode == 1
    assert "failed to create token" in asked.stderr
    assert len(refuser.refused) == 1


@needs("protobuf")
def test_a_protobuf_body_is_accepted(
    api_server: ApiServer, bot: Identity, refuser: Refuser, tmp_path: Path
) -> None:
    _ask(refuser, tmp_path, "--audience", GATE)
    (request,) = refuser.refused
    headers = [bearer(bot.token), ("Content-Type", PROTOBUF), ("Accept", "application/json")]
    # The name in kubectl's body is empty, so it fits any ServiceAccount.
    answer = send(api_server, "POST", bot.token_path, headers=headers, body=request.body)
    assert claims(issued_token(answer))["aud"] == [GATE]


def _ask(refuser: Refuser, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = f"{refuser.url}/kubernetes"
    place = ["bot", "-n", "team", *arguments]
    return create_token(folder, url, refuser.authority, Secret("t"), *place)
