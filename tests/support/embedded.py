"""The embedded API server behind the admin side's Cluster, without a socket."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from unittest import mock

import httpx2

from daypass._core.clock import Clock
from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.objects import Watch
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.tokens import SigningKey
from support.authority import ANY_AUTHORITY
from support.crashes import CrashingCluster
from support.timing import FakeClock

C = TypeVar("C", bound=Cluster)
_signing_key = functools.cache(SigningKey.generate)
"""One for all servers of a run: to generate one takes a tenth of a second."""


def new_api(clock: Clock, file: Path | None = None) -> Api:
    """An API server without a socket. `file`: its state file."""
    with mock.patch.object(SigningKey, "generate", _signing_key):
        state = ServerState.load(
            certificate_authority="-----BEGIN CERTIFICATE-----\n", address="127.0.0.1:6443",
            clock=clock, file=file,
        )  # fmt: skip
    return Api(state)


class InProcess(httpx2.BaseTransport):
    """Hands requests to an Api, and its answers back. `version`: instead of its own /version.

    `forbidden`: kinds, in the plural, that nobody may read. `asked`: the requests.
    """

    def __init__(self, api: Api, version: str | None) -> None:
        self._api = api
        self._version = version
        self.forbidden: set[str] = set()
        self.asked: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if request.method == "GET" and (refusal := self._refusal(request.url.path)):
            return httpx2.Response(403, json=refusal)
        if self._version and request.url.path == "/version":
            return httpx2.Response(200, json={"gitVersion": self._version})
        headers = tuple((name.lower(), value) for name, value in request.headers.multi_items())
        answer = self._api.handle(
            ApiRequest(
                method=request.method,
                target=request.url.raw_path.decode(),
                headers=headers,
                body=request.read(),
            )
        )
        assert not isinstance(answer, Watch), "a watch"
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def _refusal(self, path: str) -> dict[str, object] | None:
        *_, kind, name = ["", *path.split("/")]
        verb, plural = ("list", name) if name in self.forbidden else ("get", kind)
        if plural not in self.forbidden:
            return None
        message = f'User "alice" cannot {verb} resource "{plural}" in API group ""'
        return {
            "kind": "Status", "code": 403, "reason": "Forbidden",
            "message": f"{plural} is forbidden: {message} at the cluster scope",
        }  # fmt: skip


class EmbeddedCluster:
    """An API server with a clock of its own. `cluster` is its administrator's, and can crash.

    `version`: the version that it reports, for tests of how daypass meets a cluster. `sleep`: what
    happens while a command waits. `forbidden`, `asked`: as InProcess has them.
    """

    def __init__(self, *, version: str | None = None) -> None:
        self.clock = FakeClock()
        api = new_api(self.clock)
        self.transport = InProcess(api, version)
        self.forbidden, self.asked = self.transport.forbidden, self.transport.asked
        self._admin_token = api.state.authenticator.admin_token
        self.sleep: Callable[[float], None] = self.clock.advance
        self.cluster = self._connect(CrashingCluster, self._admin_token)

    def open(self, namespace: str | None = None) -> Cluster:
        """Another Cluster of its administrator's, for a command that closes it."""
        return self._connect(Cluster, self._admin_token, namespace or "team")

    def as_holder_of(self, token: Secret) -> Cluster:
        return self._connect(Cluster, token)

    def make_namespace(self, name: str) -> str:
        metadata = {"name": name}
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return name

    def _connect(self, kind: type[C], token: Secret, namespace: str = "team") -> C:
        access = ConnectionConfig(
            server="https://embedded.test", namespace=namespace, origin="tests", token=token,
            authority=ANY_AUTHORITY,
        )  # fmt: skip
        return kind(access, transport=self.transport, clock=self.clock, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.sleep(seconds)
