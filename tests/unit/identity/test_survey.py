"""How the policy of a cluster is read, and what is reported."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx2
import pytest

from daypass.cli import main
from daypass.identity.inventory import InventoryWatcher, list_objects
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import VALIDATING_ADMISSION_POLICY_BINDINGS
from support.embedded import EmbeddedCluster
from support.messages import check

POLICY_PATH = VALIDATING_ADMISSION_POLICY_BINDINGS.path()
BINDING = {"metadata": {"name": "daypass", "uid": "1"}}
Answer = Callable[[], httpx2.Response]


def status(code: int) -> httpx2.Response:
    return httpx2.Response(code, json={"kind": "Status", "code": code, "message": "no"})


class Api(httpx2.BaseTransport):
    """Empty lists. `policy`: the response about the policy; `version`: that of the server."""

    def __init__(self, policy: Answer, version: str = "v1.37.2") -> None:
        self.policy, self.version = policy, version
        self.ended = threading.Event()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/version":
            return httpx2.Response(200, json={"gitVersion": self.version})
        if request.url.path == POLICY_PATH:
            return self.policy()
        if "watch" in request.url.params:
            self.ended.wait()
            return status(403)
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": []})

    def cluster(self) -> Cluster:
        access = ConnectionConfig(server="https://api.test", namespace="team", origin="a test")
        return Cluster(access, transport=self, sleep=lambda _: None)


def listed(*items: object) -> Answer:
    return lambda: httpx2.Response(
        200, json={"metadata": {"resourceVersion": "1"}, "items": list(items)}
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (listed(BINDING), [BINDING]),
        (listed(), []),
        (lambda: status(404), []),  # Kubernetes 1.29
        (lambda: status(403), None),  # an administrator of a namespace
    ],
    ids=["installed", "not installed", "not served", "forbidden"],
)
def test_an_installed_policy_is_found_if_the_caller_may_read_it(
    policy: Answer, expected: object
) -> None:
    warnings: list[str] = []
    cluster = Api(policy).cluster()
    assert list_objects(
        cluster, "team", warn=lambda *words: warnings.extend(words)
    ).policy_bindings == (expected)
    assert warnings == []


@pytest.mark.parametrize("code", [403, 404])
def test_a_watch_continues_without_permission_to_read_the_policy(code: int) -> None:
    api = Api(lambda: status(code), version="v1.37.2+daypass-embedded")
    try:
        objects = next(iter(InventoryWatcher(api.cluster(), "team").changes(60)))
    finally:
        api.ended.set()
    assert objects.policy_bindings is None


def test_the_embedded_api_server_gives_a_note_and_no_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = EmbeddedCluster()
    world.make_namespace("team")
    token = world.cluster.connection.token
    assert token is not None
    monkeypatch.setattr(Cluster, "open", lambda **_: world.as_holder_of(token))
    assert main(["identity", "create", "bot", "--door", "https://d.test/k", "--audience", "a",
                 "-o", "-"]) == 0  # fmt: skip
    capsys.readouterr()
    for arguments in (["list"], ["show", "bot"]):
        assert main(["identity", *arguments, "--check"]) == 0
        captured = capsys.readouterr()
        assert len(captured.err.splitlines()) == 1
        check(captured.err, reason="note")
        assert "daypass policy" not in captured.err + captured.out
        assert "no-policy" not in captured.out
