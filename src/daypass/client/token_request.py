"""One TokenRequest: what is asked of which door, and the request that asks it."""

from __future__ import annotations

import json

from daypass._core import VERSION
from daypass.client.http1 import HttpRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.secret import Secret
    from daypass.client.door_url import DoorUrl
    from daypass.client.subject import TokenIdentity


USER_AGENT = f"daypass/{VERSION}"


class TokenRequest:
    """What one exchange asks for. It holds all that a refusal's sentence may name."""

    __slots__ = ("audience", "door", "identity", "lifetime_seconds", "token")

    def __init__(
        self,
        *,
        door: DoorUrl,
        identity: TokenIdentity,
        token: Secret,
        audience: str,
        lifetime_seconds: int,
    ) -> None:
        self.door = door
        self.identity = identity
        self.token = token
        self.audience = audience
        self.lifetime_seconds = lifetime_seconds

    def __repr__(self) -> str:
        return f"Order({self.identity!r}, audience={self.audience!r})"

    def request(self) -> HttpRequest:
        """The request, bound to the Secret of the long-lived token: when that goes, so does what
        was made with it. Its UID is not known here, and the API server asks for none. A token of
        another issuer hangs on no Secret of the cluster's."""
        spec: dict[str, object] = {
            "audiences": [self.audience],
            "expirationSeconds": self.lifetime_seconds,
        }
        if self.identity.secret_name is not None:
            name = self.identity.secret_name
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": name}
        document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        body = json.dumps(document, separators=(",", ":")).encode()
        names = (
            f"namespaces/{self.identity.namespace}/serviceaccounts/{self.identity.service_account}"
        )
        return HttpRequest(
            method="POST",
            target=f"{self.door.path}/api/v1/{names}/token",
            headers=(
                ("Host", self.door.authority),
                ("Authorization", f"Bearer {self.token.reveal()}"),
                ("Content-Type", "application/json"),
                ("Accept", "application/json"),
                ("User-Agent", USER_AGENT),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ),
            body=body,
        )
