"""The demo's story before a real API server: the embedded one tells nothing that is not so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.conftest import KubernetesApiServer
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.local.api_backend import ExternalApiServer
from daypass.local.demo import run_demo
from daypass.local.stack import AUDIENCE, EXPIRED_FOR_SECONDS, LocalStack, stack_config
from support.admin import Document
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import (
    RBAC,
    ensure_namespace,
    secret_token,
    token_path,
    unique,
    wait_until_allowed,
)

COLLECTIONS = {
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Secret": ("/api/v1", "secrets"),
    "Role": (RBAC, "roles"),
    "RoleBinding": (RBAC, "rolebindings"),
}


class ClusterAdministrator:
    """The local stack's administrator over the API of a real cluster."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._signer = KubernetesApiServer(plane)

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace unless it is there."""
        ensure_namespace(self._plane.admin, name)

    def apply(self, manifest: dict[str, Any]) -> None:
        """Make an object, or make it so."""
        root, plural = COLLECTIONS[manifest["kind"]]
        metadata = manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        path = f"{root}/namespaces/{namespace}/{plural}/{name}"
        self._plane.admin.apply(path, manifest)

    def long_lived_token(self, namespace: str, secret_name: str) -> Secret:
        """The token that the controller puts into a Secret, once RBAC lets it be used."""
        path = f"/api/v1/namespaces/{namespace}/secrets/{secret_name}"

        def filled() -> Document | None:
            self._plane.check()
            secret = self._plane.admin.get(path)
            return secret if secret.get("data", {}).get("token") else None

        secret = eventually(f"a token in {path}", filled)
        name = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
        attributes = {
            "namespace": namespace, "verb": "create", "resource": "serviceaccounts",
            "subresource": "token", "name": name,
        }  # fmt: skip
        user = f"system:serviceaccount:{namespace}:{name}"
        wait_until_allowed(self._plane.admin, user, attributes)
        return secret_token(secret)

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""
        self._plane.admin.delete(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def token(
        self,
        namespace: str,
        service_account: str,
        *,
        audiences: Sequence[str],
        lifetime_seconds: int,
        bound_to: str | None,
        expired: bool,
    ) -> Secret:
        """A short-lived token; an expired one is signed with the cluster's own key."""
        spec: Document = {"audiences": list(audiences), "expirationSeconds": lifetime_seconds}
        if bound_to is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
        path = token_path(namespace, service_account)
        token = Secret(self._plane.admin.create(path, {"spec": spec})["status"]["token"])
        if not expired:
            return token
        claims = decode_unverified(token.reveal())[1]
        back = claims["exp"] - claims["iat"] + EXPIRED_FOR_SECONDS
        moved = {key: claims[key] - back for key in ("iat", "nbf", "exp")}
        return self._signer.sign({**claims, **moved})


def cluster_of(plane: ControlPlane) -> str:
    """The lines of a config that name a cluster."""
    return f"""\
cluster:
  server: {plane.url}
  certificateAuthority: {plane.ca_path}
  serverName: kubernetes.default.svc
"""


def test_the_documented_walkthrough_works_with_a_real_api_server(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    administrator = ClusterAdministrator(control_plane)
    reader = control_plane.make_identity().token
    with LocalStack(
        tmp_path,
        config=stack_config(cluster=cluster_of(control_plane)),
        behind=ExternalApiServer(lambda: reader),
        administrator=administrator,
    ) as stack:
        steps = list(run_demo(stack))
    otherwise = [(step.title, step.answered) for step in steps if not step.as_told]
    assert otherwise == []
    assert len(steps) == 10


def test_every_shape_of_token_that_the_stack_makes_is_as_asked(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    administrator = ClusterAdministrator(control_plane)
    reader = control_plane.make_identity().token
    with LocalStack(
        tmp_path,
        config=stack_config(cluster=cluster_of(control_plane)),
        behind=ExternalApiServer(lambda: reader),
        administrator=administrator,
    ) as stack:
        identity = stack.make_identity(unique("team"))
        claims = decode_unverified(stack.make_token(identity).reveal())[1]
        assert claims["aud"] == [AUDIENCE]
        assert claims["kubernetes.io"]["secret"]["name"] == identity.secret_name
        unbound = decode_unverified(stack.make_token(identity, bound=False).reveal())[1]
        assert "secret" not in unbound["kubernetes.io"]
        expired = decode_unverified(stack.make_token(identity, expired=True).reveal())[1]
        assert expired["exp"] < claims["iat"]
