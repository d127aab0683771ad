"""What the local stack asks of an API server as its administrator."""

import base64
from collections.abc import Sequence
from typing import Any, Protocol

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.local.api import ApiError, ApiServer

Object = dict[str, Any]
EXPIRED_FOR_SECONDS = 60


class Administrator(Protocol):
    """Makes identities and tokens; raises what its API server refuses."""

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace unless it is there."""

    def apply(self, manifest: Object) -> None:
        """Make an object, or make it so."""

    def long_lived_token(self, namespace: str, secret_name: str) -> Secret:
        """The token that the cluster has put into a Secret."""

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""

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
        """A short-lived token. `bound_to`: a Secret. `expired`: its end lies a minute back."""


class EmbeddedAdministrator:
    """The administrator of the embedded API server, in this process."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace unless it is there."""
        try:
            self._server.admin.get("Namespace", name)
        except ApiError:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._server.admin.create(namespace)

    def apply(self, manifest: Object) -> None:
        """Make an object, or make it so."""
        self._server.admin.apply(manifest)

    def long_lived_token(self, namespace: str, secret_name: str) -> Secret:
        """The token in a Secret."""
        secret = self._server.admin.get("Secret", secret_name, namespace)
        return Secret(base64.b64decode(secret["data"]["token"]).decode())

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""
        self._server.admin.delete("Secret", name, namespace)

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
        """A short-lived token by TokenRequest; an expired one is signed with the same claims."""
        spec: Object = {"audiences": list(audiences), "expirationSeconds": lifetime_seconds}
        if bound_to is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = self._server.admin.request("POST", path, {"spec": spec})
        token = Secret(answer["status"]["token"])
        if not expired:
            return token
        claims = decode_unverified(token.reveal())[1]
        back = claims["exp"] - claims["iat"] + EXPIRED_FOR_SECONDS
        moved = {key: claims[key] - back for key in ("iat", "nbf", "exp")}
        return self._server.unsafe_sign({**claims, **moved})
