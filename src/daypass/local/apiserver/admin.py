"""The administrator of an API server: objects, and tokens of any shape, without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from daypass._core.jwt import decode_unverified
from daypass._core.objects import Object
from daypass._core.secret import Secret
from daypass.local.apiserver.api import Api
from daypass.local.apiserver.errors import StatusError
from daypass.local.apiserver.kinds import STORED, Kind
from daypass.local.apiserver.objects import APPLY_PATCH, Watch
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.schema import JSON

MANAGER = "daypass-local"
EXPIRED_FOR_SECONDS = 60
_KINDS = {kind.kind: kind for kind in STORED}


class Admin:
    """Reads, applies and deletes objects, and issues tokens.

    `request` sends a method, a target, a document or None, and its media type, and returns the
    answer; it raises StatusError if the API server refuses. `sign` signs claims with its key.
    """

    def __init__(
        self,
        request: Callable[[str, str, Any, str], Object],
        sign: Callable[[dict[str, Any]], Secret],
    ) -> None:
        self._request = request
        self._sign = sign

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return one object."""
        return self.request("GET", path_of(kind, namespace, name))

    def apply(self, obj: Object) -> Object:
        """Create or update an object by server-side apply."""
        metadata = obj["metadata"]
        path = path_of(obj["kind"], metadata.get("namespace", ""), metadata["name"])
        query = f"?fieldManager={MANAGER}&force=true"
        return self.request("PATCH", path + query, obj, APPLY_PATCH)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        self.request("DELETE", path_of(kind, namespace, name))

    def long_lived_token(self, namespace: str, secret_name: str) -> Secret:
        """Return the token in a Secret."""
        secret = self.get("Secret", secret_name, namespace)
        return Secret(base64.b64decode(secret["data"]["token"]).decode())

    def issue_token(
        self,
        namespace: str,
        service_account: str,
        *,
        audiences: Sequence[str],
        lifetime_seconds: int,
        bound_to: str | None,
        expired: bool,
    ) -> Secret:
        """Return a short-lived token. `bound_to`: a Secret. `expired`: since a minute ago."""
        spec: Object = {"audiences": [*audiences], "expirationSeconds": lifetime_seconds}
        if bound_to is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
        path = path_of("ServiceAccount", namespace, service_account, "token")
        token = Secret(self.request("POST", path, {"spec": spec})["status"]["token"])
        if not expired:
            return token
        claims = decode_unverified(token.reveal())[1]
        back = claims["exp"] - claims["iat"] + EXPIRED_FOR_SECONDS
        return self._sign({**claims, **{key: claims[key] - back for key in ("iat", "nbf", "exp")}})

    def request(self, method: str, target: str, document: Any = None, media: str = JSON) -> Object:
        """Send any request but a watch, and return the answer."""
        return self._request(method, target, document, media)


def in_process(api: Api, token: Secret) -> Callable[[str, str, Any, str], Object]:
    """Return a function that sends requests to an Api without a socket."""

    def request(method: str, target: str, document: Any, media: str) -> Object:
        headers = [("authorization", f"Bearer {token.reveal()}")]
        if document is not None:
            headers.append(("content-type", media))
        body = b"" if document is None else json.dumps(document).encode()
        answer = api.handle(
            ApiRequest(method=method, target=target, headers=tuple(headers), body=body)
        )
        if isinstance(answer, Watch):
            raise TypeError("a watch is not answered at once")
        read: Object = json.loads(answer.body)
        if answer.status >= 400:
            raise StatusError(
                answer.status, read.get("reason", ""), read["message"], read.get("details")
            )
        return read

    return request


def path_of(name: str, namespace: str, *rest: str) -> str:
    """Return the path of a kind's objects, or of one of them."""
    kind: Kind = _KINDS[name]
    place = ["namespaces", namespace] if kind.namespaced and namespace else []
    return "/".join(
        ["", kind.root, *(quote(part, safe="") for part in (*place, kind.plural, *rest))]
    )
