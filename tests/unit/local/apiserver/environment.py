"""An embedded API server without a socket, and requests to it."""

from __future__ import annotations

import base64
import json
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.kube.resources import SECRETS
from daypass.local.apiserver.requests import ApiRequest, ApiResponse
from support import objects
from support.admin import Answer
from support.embedded import EmbeddedCluster
from support.objects import make

JSON = "application/json"
TEAM = "/api/v1/namespaces/team"
TOKEN_PATH = f"{TEAM}/serviceaccounts/bot/token"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


class Env(EmbeddedCluster):
    """A cluster with namespace `team`, ServiceAccount `bot` and its token Secret `bot-token`."""

    def prepare_bot(self) -> Env:
        """Make the namespace, the account and its Secret, and the permission to request tokens."""
        rbac = "rbac.authorization.k8s.io"
        rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
        subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "team"}
        role = {"apiGroup": rbac, "kind": "Role", "name": "grant"}
        self.make_namespace("team")
        for each in (
            make("v1", "ServiceAccount", "bot", "team"),
            make(f"{rbac}/v1", "Role", "grant", "team", rules=[rule]),
            make(f"{rbac}/v1", "RoleBinding", "grant", "team", roleRef=role, subjects=[subject]),
        ):
            self.cluster.apply(each)
        self.cluster.create(token_secret())
        return self

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
        sent = [("content-type", media), *headers]
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

    def review(self, token: str) -> dict[str, Any]:
        reply = self.request("POST", TOKEN_REVIEWS, {"spec": {"token": token}})
        assert reply.code == 201, reply.body
        status = reply.json["status"]
        assert isinstance(status, dict)
        return status


def token_secret() -> Object:
    secret = make("v1", "Secret", "bot-token", "team", type="kubernetes.io/service-account-token")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "bot"}
    return secret


def config_map(name: str, **data: str) -> Object:
    return objects.config_map(name, "team", data)
