"""The demo's story before a real API server: the embedded one answers as it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.local.api_backend import ExternalApiServer
from daypass.local.apiserver import Admin
from daypass.local.apiserver.errors import StatusError
from daypass.local.demo import run_demo
from daypass.local.stack import AUDIENCE, LocalStack, stack_config
from support.admin import Document
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import secret_token, unique, wait_until_allowed


class ClusterAdministrator(Admin):
    """The local stack's administrator on a real cluster."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        super().__init__(self._ask, plane.sign)

    def _ask(self, method: str, target: str, document: Any, media: str) -> Document:
        headers = {"Content-Type": media}
        answer = self._plane.admin.request(method, target, document, headers=headers)
        if answer.code >= 400:
            raise StatusError(answer.code, "", answer.message)
        return answer.json

    def long_lived_token(self, namespace: str, secret_name: str) -> Secret:
        """The token that the controller puts into a Secret, once RBAC lets it be used."""

        def filled() -> Document | None:
            self._plane.check()
            secret = self.get("Secret", secret_name, namespace)
            return secret if secret.get("data", {}).get("token") else None

        secret = eventually(f"a token in {secret_name}", filled)
        name = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
        attributes = {
            "namespace": namespace, "verb": "create", "resource": "serviceaccounts",
            "subresource": "token", "name": name,
        }  # fmt: skip
        user = f"system:serviceaccount:{namespace}:{name}"
        wait_until_allowed(self._plane.admin, user, attributes)
        return secret_token(secret)


def cluster_of(plane: ControlPlane) -> str:
    """The lines of a config that name a cluster."""
    return f"""\
cluster:
  server: {plane.url}
  certificateAuthority: {plane.ca_path}
  serverName: kubernetes.default.svc
"""


def test_the_documented_walkthrough_and_every_shape_of_token_work_with_a_real_api_server(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    reader = control_plane.make_identity().token
    with LocalStack(
        tmp_path,
        config=stack_config(cluster=cluster_of(control_plane)),
        backend=ExternalApiServer(lambda: reader),
        administrator=ClusterAdministrator(control_plane),
    ) as stack:
        steps = list(run_demo(stack))
        assert [(each.title, each.answer) for each in steps if not each.as_expected] == []
        assert len(steps) == 10

        identity = stack.make_identity(unique("team"))
        claims, unbound, expired = (
            decode_unverified(token.reveal())[1]
            for token in (
                stack.make_token(identity),
                stack.make_token(identity, bound=False),
                stack.make_token(identity, expired=True),
            )
        )
        assert claims["aud"] == [AUDIENCE]
        assert claims["kubernetes.io"]["secret"]["name"] == identity.secret_name
        assert "secret" not in unbound["kubernetes.io"]
        assert expired["exp"] < claims["iat"]
