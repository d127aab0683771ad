"""What changes with kube-apiserver's flags and load: anonymous access, lifetimes, a 429."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.calls import ApiServer, bearer, connected, only_kubernetes, request_token
from daypass._core.secret import Secret
from support import identities
from support.admin import Answer
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


def test_with_anonymous_access_off_no_credentials_are_a_401_as_a_bad_token_is(
    tmp_path: Path,
) -> None:
    path = identities.token_path("default", "default")
    with ControlPlane.start(tmp_path, anonymous=False) as strict:
        for token, method in ((None, "GET"), (None, "POST"), (Secret("nonsense"), "POST")):
            answer = strict.client(token).request(method, path)
            assert (answer.code, answer.message) == (401, "Unauthorized")
            assert "details" not in answer.json
        bot = strict.make_identity()
        assert strict.client(bot.token).request("POST", bot.token_path, {}).code == 201


@only_kubernetes("it has flow control")
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
    account = {"name": bot.service_account, "namespace": bot.namespace}
    subject = {"kind": "ServiceAccount", "serviceAccount": account}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    documents = {
        "prioritylevelconfigurations": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
                "limitResponse": {"type": "Reject"},
            },
        },
        "flowschemas": {
            "priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 1000,
            "rules": [{"subjects": [subject], "resourceRules": [everything]}],
        },
    }  # fmt: skip
    try:
        for kind, spec in documents.items():
            api_server.admin.create(f"{FLOW}/{kind}", {"metadata": {"name": name}, "spec": spec})
        yield
    finally:
        for kind in reversed(documents):
            api_server.admin.delete(f"{FLOW}/{kind}/{name}")
