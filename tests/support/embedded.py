"""The embedded API server behind the admin side's Cluster, without a socket."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from unittest import mock

import httpx2

from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster, DryRun
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import (
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.handlers import Watch
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.tokens import SigningKey
from support.authority import ANY_AUTHORITY
from support.timing import FakeClock

C = TypeVar("C", bound=Cluster)
ADMISSION = VALIDATING_ADMISSION_POLICIES.api_version
POLICY_KINDS = {
    "kind": "APIResourceList",
    "resources": [
        {"kind": each.kind, "name": each.plural, "namespaced": False}
        for each in (VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS)
    ],
}
_signing_key = functools.cache(SigningKey.generate)
"""One for all servers of a run: to generate one takes a tenth of a second."""


class InProcess(httpx2.BaseTransport):
    """Hands requests to an Api, and its answers back.

    `has_policies`: as if the API server had admission policies, of which there are none.
    `forbidden`: kinds, in the plural, that nobody may read.
    """

    def __init__(self, api: Api, *, has_policies: bool) -> None:
        self._api = api
        self._has_policies = has_policies
        self.forbidden: set[str] = set()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and (refusal := self._refusal(request.url.path)):
            return httpx2.Response(403, json=refusal)
        if self._has_policies and request.url.path == f"/apis/{ADMISSION}":
            return httpx2.Response(200, json=POLICY_KINDS)
        if self._has_policies and request.url.path.endswith("policybindings"):
            return httpx2.Response(200, json={"items": []})
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
        return httpx2.Response(answer.status, content=answer.body)

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
    """An API server with a clock of its own. `cluster` is its administrator's.

    `sleep`: what happens while a command waits. `file`: its state file. The rest is as InProcess
    has it.
    """

    def __init__(self, *, has_policies: bool = False, file: Path | None = None) -> None:
        self.clock = FakeClock()
        with mock.patch.object(SigningKey, "generate", _signing_key):
            self.state = ServerState(
                certificate_authority="-----BEGIN CERTIFICATE-----\n",
                url="https://127.0.0.1:6443", clock=self.clock, file=file,
            )  # fmt: skip
        self.api = Api(self.state)
        self.transport = InProcess(self.api, has_policies=has_policies)
        self.forbidden = self.transport.forbidden
        self.admin_token = self.state.authenticator.admin_token
        self.sleep: Callable[[float], None] = self.clock.advance
        self.cluster = self.connect(Cluster)

    def open(
        self, namespace: str | None = None, dry_run: DryRun | None = None, **_: object
    ) -> Cluster:
        """Another Cluster of its administrator's, for a command that closes it."""
        opened = self.connect(Cluster, namespace=namespace or "team")
        opened.dry_run = dry_run
        return opened

    def as_holder_of(self, token: Secret) -> Cluster:
        return self.connect(Cluster, token)

    def make_namespace(self, name: str) -> str:
        metadata = {"name": name}
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return name

    def connect(self, kind: type[C], token: Secret | None = None, namespace: str = "team") -> C:
        access = ConnectionConfig(
            server="https://embedded.test", namespace=namespace, origin="tests",
            token=token or self.admin_token, authority=ANY_AUTHORITY,
        )  # fmt: skip
        return kind(access, transport=self.transport, clock=self.clock, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.sleep(seconds)
