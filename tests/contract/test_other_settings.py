"""What changes with the server's flags: anonymous access, the limit on lifetimes, and load."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.controlplane.build import find_programs

from contract.calls import bearer, needs, request_token
from contract.interface import ApiServer, connected
from daypass._core.secret import Secret
from support import identities
from support.admin import Answer
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows no anonymous users."""
    with ControlPlane.start(tmp_path_factory.mktemp("strict"), anonymous=False) as plane:
        yield plane


def test_with_anonymous_access_off_no_credentials_are_a_401_without_details(
    strict: ControlPlane,
) -> None:
    path = identities.token_path("default", "default")
    for method in ("GET", "POST"):
        answer = strict.client().request(method, path)
        assert (answer.code, answer.message) == (401, "Unauthorized")
        assert "details" not in answer.json


def test_with_anonymous_access_off_a_bad_token_is_the_same_401(strict: ControlPlane) -> None:
    path = identities.token_path("default", "default")
    answer = strict.client(Secret("nonsense")).request("POST", path)
    assert (answer.code, answer.message) == (401, "Unauthorized")


def test_with_anonymous_access_off_a_good_token_is_good(strict: ControlPlane) -> None:
    bot = strict.make_identity()
    assert strict.client(bot.token).request("POST", bot.token_path, {}).code == 201


@pytest.mark.parametrize("limit", ["59m", "4294967297s"])
def test_the_limit_on_lifetimes_is_an_hour_at_least_and_two_to_the_32_seconds_at_most(
    limit: str, tmp_path: Path
) -> None:
    programs = find_programs(os.environ)
    flag = f"--service-account-max-token-expiration={limit}"
    flags = ["--etcd-servers=unix://none", "--cert-dir=none", flag]
    ended = subprocess.run(
        [*programs.kube_apiserver, *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "the service-account-max-token-expiration must be" in ended.stderr


@needs("flow-control")
def test_a_server_under_load_answers_429_with_retry_after(
    api_server: ApiServer, bot: Identity
) -> None:
    with _no_room_for(api_server, bot):
        answer = eventually("there is no room", lambda: _second_of_two(api_server, bot))
    assert int(answer.all("retry-after")[0]) >= 1
    eventually("there is room again", lambda: request_token(api_server, bot).code == 201)


def _second_of_two(api_server: ApiServer, bot: Identity) -> Answer | None:
    """The answer to a request while the body of another one is awaited, if it is a 429."""
    with connected(api_server) as connection:
        head = f"POST {bot.token_path} HTTP/1.1\r\nHost: x\r\n{': '.join(bearer(bot.token))}\r\n"
        connection.sendall(f"{head}Content-Length: 2\r\n\r\n".encode())
        answer = request_token(api_server, bot)
    return answer if answer.code == 429 else None


@contextmanager
def _no_room_for(api_server: ApiServer, bot: Identity) -> Iterator[None]:
    """Flow control that answers one request of a user at a time: to it, a server at its limit."""
    name = identities.unique("full")
    limited = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    account = {"name": bot.service_account, "namespace": bot.namespace}
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
        ],
    }
    documents = {
        "prioritylevelconfigurations": {"type": "Limited", "limited": limited},
        "flowschemas": {
            "priorityLevelConfiguration": {"name": name},
            "matchingPrecedence": 1000,
            "rules": [rule],
        },
    }
    try:
        for kind, spec in documents.items():
            api_server.admin.create(f"{FLOW}/{kind}", {"metadata": {"name": name}, "spec": spec})
        yield
    finally:
        for kind in reversed(documents):
            api_server.admin.delete(f"{FLOW}/{kind}/{name}")
