"""The API server's signing keys, fetched so that the gate can follow them."""

import base64
import http.client
import json

from cryptography.hazmat.primitives.asymmetric import ec

from daypass._core.errors import DaypassError
from daypass._core.scrub import scrub_answer
from daypass._core.secret import Secret
from daypass._core.status import Status, excerpt
from daypass.gateway.key_set import KeySetError, key_set
from daypass.kube.connection import Asker
from daypass.local.upstream import UpstreamConnection
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


def fetch_keys(upstream: Upstream, asker: Asker) -> str:
    """The API server's JSON Web Key Set (RFC 7517), as text, its keys in a stable order.

    `asker`: who asks; nobody in particular is anonymous, whom most API servers refuse. Any
    ServiceAccount may ask (ClusterRole system:service-account-issuer-discovery). Raises KeysError,
    and KubeconfigError where who asks cannot be found out.
    """
    try:
        code, body = _get(upstream, asker, JWKS_PATH)
    except (OSError, http.client.HTTPException) as error:
        raise KeysError(f"the API server's signing keys cannot be fetched: {error}") from None
    if code != 200:
        status = Status.parse(body)
        raise KeysError(
            f"the API server does not give its signing keys: {code} "
            f"{status.message if status else excerpt(body)}",
            "any ServiceAccount may read them (ClusterRole system:service-account-issuer-discovery)"
            ": --credentials FILE, or --kubeconfig FILE",
        )
    try:
        return key_set(body)
    except KeySetError as error:
        raise KeysError(str(error)) from None


def fetch_issuer(upstream: Upstream, asker: Asker) -> str:
    """The `iss` of the API server's short-lived tokens, from its discovery document.

    Raises as `fetch_keys`.
    """
    try:
        code, body = _get(upstream, asker, DISCOVERY_PATH)
        issuer = json.loads(body)["issuer"] if code == 200 else None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        issuer = None
    if not isinstance(issuer, str):
        raise KeysError(
            "the API server does not tell its issuer",
            "write it to cluster.issuer; it is `iss` of any short-lived token",
        )
    return issuer


def _get(upstream: Upstream, asker: Asker, path: str) -> tuple[int, bytes]:
    authorization = asker.authorization(renew=False)
    code, body = _get_as(authorization, upstream, asker, path)
    if code == 401 and (another := asker.authorization(renew=True)) != authorization:
        return _get_as(another, upstream, asker, path)
    return code, body


def _get_as(authorization: str, upstream: Upstream, asker: Asker, path: str) -> tuple[int, bytes]:
    connection = UpstreamConnection(upstream, asker.tls)
    try:
        headers = {"Authorization": authorization} if authorization else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(LIMIT_BYTES)
        if answer.status != 200:  # Only then is anything of it shown.
            body = scrub_answer(body, Secret(authorization.rpartition(" ")[2]))
        return answer.status, body
    finally:
        connection.close()
