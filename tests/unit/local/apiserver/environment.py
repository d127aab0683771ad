"""An embedded API server without a socket, and requests to it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from daypass._core.jwt import decode_unverified
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import SECRETS
from daypass.local.apiserver.requests import ApiRequest, ApiResponse
from support.admin import Answer
from support.authority import ANY_AUTHORITY
from support.embedded import InProcess, new_api
from support.timing import FakeClock

GATE = "gate.example.com"
JSON = "application/json"
TEAM = "/api/v1/namespaces/team"
TOKEN_PATH = f"{TEAM}/serviceaccounts/bot/token"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Env:
    """A cluster with namespace `team`, ServiceAccount `bot` and its token Secret `bot-token`."""

    def __init__(self, *, state_file: Path | None = None) -> None:
        self.clock = FakeClock()
        self.api = new_api(self.clock, state_file)
        self.state = self.api.state
        self.admin_token = self.state.authenticator.admin_token
        access = ConnectionConfig(
            server="https://embedded.test", namespace="team", origin="tests",
            token=self.admin_token, authority=ANY_AUTHORITY,
        )  # fmt: skip
        transport = InProcess(self.api, has_policies=False)
        self.cluster = Cluster(access, transport=transport, clock=self.clock)

    def prepare_bot(self) -> Env:
        """Make the namespace, the account and its Secret, and the permission to request tokens."""
        self.cluster.apply(_named("Namespace", "team"))
        self.cluster.apply(_named("ServiceAccount", "bot", "team"))
        self.cluster.create(token_secret("bot-token", "bot"))
        self.grant({"resources": ["serviceaccounts/token"], "verbs": ["create"]})
        return self

    def grant(self, rule: dict[str, Any], name: str = "grant") -> None:
        version = "rbac.authorization.k8s.io/v1"
        role = {**_named("Role", name, "team"), "apiVersion": version}
        self.cluster.apply({**role, "rules": [{"apiGroups": [""], **rule}]})
        binding = {**_named("RoleBinding", name, "team"), "apiVersion": version}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}
        self.cluster.apply({**binding, "roleRef": reference, "subjects": [subject]})

    @property
    def legacy(self) -> str:
        secret = self.cluster.get(SECRETS, "bot-token", "team")
        return base64.b64decode(secret["data"]["token"]).decode()

    def request(
        self,
        method: str,
        target: str,
        body: Any = b"",
        *,
        authorization: str | None = None,
        media: str = JSON,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        """A request; by the admin unless an Authorization header is given (`""`: none)."""
        if authorization is None:
            authorization = f"Bearer {self.admin_token.reveal()}"
        sent = [("content-type", media), *headers] if media else list(headers)
        if authorization:
            sent.append(("authorization", authorization))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.api.handle(
            ApiRequest(method=method, target=target, headers=tuple(sent), body=content)
        )
        assert isinstance(answer, ApiResponse), "a watch"
        return Answer(code=answer.status, headers=(), body=answer.body)

    def mint(self, **spec: Any) -> str:
        """A token of `bot`, requested with its long-lived token."""
        reply = self.request(
            "POST", TOKEN_PATH, {"spec": spec}, authorization=f"Bearer {self.legacy}"
        )
        assert reply.code == 201, reply.body
        return str(reply.json["status"]["token"])

    def review(self, token: str, *audiences: str) -> dict[str, Any]:
        spec = {"token": token, "audiences": list(audiences)}
        reply = self.request("POST", TOKEN_REVIEWS, {"spec": spec})
        assert reply.code == 201, reply.body
        status = reply.json["status"]
        assert isinstance(status, dict)
        return status


def _named(kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place}}


def token_secret(name: str, account: str) -> dict[str, Any]:
    secret = _named("Secret", name, "team")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": account}
    return {**secret, "type": "kubernetes.io/service-account-token"}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {**_named("ConfigMap", name, "team"), "data": data}


def claims(token: str) -> dict[str, Any]:
    return decode_unverified(token)[1]
