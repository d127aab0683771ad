"""The API server's signing keys, fetched so that the gate can follow them."""

import base64
import http.client
import json
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec

from daypass._core.errors import DaypassError
from daypass._core.secret import Secret
from daypass._core.status import Status, excerpt
from daypass._core.tls import client_context
from daypass.gateway.key_set import KeySetError, key_set
from daypass.local.upstream import UpstreamConnection, UpstreamError
from daypass.render.envoy.settings import Upstream

JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"
LIMIT_BYTES = 1024 * 1024


class KeysError(DaypassError):
    """The API server did not give its keys."""


def placeholder_keys() -> str:
    """A key set whose private half nobody has: a gate that has no better one refuses all tokens.

    Envoy takes no empty set.
    """
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(n.to_bytes(32)).decode().rstrip("=")
        for n in (numbers.x, numbers.y)
    )
    key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "none", "x": x, "y": y}
    return json.dumps({"keys": [key]})


def fetch_keys(upstream: Upstream, token: Callable[[], Secret | None]) -> str:
    """The API server's JSON Web Key Set (RFC 7517), as text, its keys in a stable order.

    `token`: what to ask with; None asks as anonymous, which most API servers refuse. Any
    ServiceAccount may ask (ClusterRole system:service-account-issuer-discovery). Raises KeysError.
    """
    try:
        code, body = _get(upstream, token(), JWKS_PATH)
    except (OSError, http.client.HTTPException, UpstreamError) as error:
        raise KeysError(f"the API server's signing keys cannot be fetched: {error}") from None
    if code != 200:
        status = Status.parse(body)
        raise KeysError(
            f"the API server does not give its signing keys: {code} "
            f"{status.message if status else excerpt(body)}",
            "any ServiceAccount's token may read them: name a credentials file with --credentials",
        )
    try:
        return key_set(body)
    except KeySetError as error:
        raise KeysError(str(error)) from None


def fetch_issuer(upstream: Upstream, token: Callable[[], Secret | None]) -> str:
    """The `iss` of the API server's short-lived tokens, from its discovery document.

    Raises KeysError.
    """
    try:
        code, body = _get(upstream, token(), DISCOVERY_PATH)
        issuer = json.loads(body)["issuer"] if code == 200 else None
    except (OSError, http.client.HTTPException, UpstreamError, ValueError, KeyError, TypeError):
        issuer = None
    if not isinstance(issuer, str):
        raise KeysError(
            "the API server does not tell its issuer",
            "write it to cluster.issuer; it is `iss` of any short-lived token",
        )
    return issuer


def _get(upstream: Upstream, token: Secret | None, path: str) -> tuple[int, bytes]:
    with open(upstream.authority_file, encoding="ascii") as file:
        connection = UpstreamConnection(upstream, client_context(file.read()))
    headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(LIMIT_BYTES)
    finally:
        connection.close()
