"""The API server's signing keys: read, compared, and used to verify a token (RFC 7515, 7517, 7518).

Only explanations verify a signature here; at the gate, Envoy or the API server does.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from daypass._core.errors import DaypassError, MissingExtraError
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.kube.cluster import Cluster
from daypass.kube.errors import BrokenResponseError


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """The `iss` of a cluster's short-lived tokens, and the result of `key_set`."""

    issuer: str
    key_set: str


class KeySetError(DaypassError):
    """The input is not a JSON Web Key Set."""


def key_set(body: bytes | str) -> str:
    """Return the public keys of a set as text, in a stable order. Raises KeySetError."""
    try:
        keys = json.loads(body)["keys"]
        # A symmetric key in a published set would let any reader sign.
        public = [key for key in keys if key["kty"] in ("RSA", "EC")]
        ordered = sorted(public, key=lambda key: json.dumps(key, sort_keys=True))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("the API server's response is not a JSON Web Key Set") from None
    if not ordered:
        raise KeySetError("the API server's key set is empty")
    return json.dumps({"keys": ordered}, sort_keys=True)


def key_ids(keys: str) -> list[str]:
    """Return the `kid`s of a set that `key_set` returned."""
    return [str(key.get("kid", "")) for key in json.loads(keys)["keys"]]


def is_signed(token: str, keys: str) -> bool:
    """Return whether one of the keys signed the token. Raises KeySetError, MissingExtraError."""
    try:
        found = list(json.loads(keys)["keys"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError(
            "the keys are not a JSON Web Key Set",
            "the API server serves it at /openid/v1/jwks",
        ) from None
    try:
        header, _ = decode_unverified(token)
        body, _, signature = token.rpartition(".")
        return any(
            _verifies(key, str(header.get("alg")), body.encode(), _decoded(signature))
            for key in found
            if header.get("kid", "") in ("", key.get("kid"))  # an empty one names no key
        )
    except (MalformedTokenError, binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        return False


def _verifies(key: dict[str, Any], algorithm: str, body: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    except ImportError:
        raise MissingExtraError("a look at the signature", "local") from None
    digests: dict[str, hashes.HashAlgorithm] = {
        "256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512(),
    }  # fmt: skip
    curves: dict[str, tuple[ec.EllipticCurve, int]] = {
        "P-256": (ec.SECP256R1(), 32), "P-384": (ec.SECP384R1(), 48), "P-521": (ec.SECP521R1(), 66),
    }  # fmt: skip
    digest = digests[algorithm[2:]]
    try:
        if algorithm[:2] == "RS" and key["kty"] == "RSA":
            rsa_key = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
            rsa_key.verify(signature, body, padding.PKCS1v15(), digest)
            return True
        if algorithm[:2] == "ES" and key["kty"] == "EC":
            curve, size = curves[key["crv"]]
            if len(signature) != 2 * size:
                return False
            x, y = _number(key["x"]), _number(key["y"])
            ec_key = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
            first, second = (int.from_bytes(half) for half in (signature[:size], signature[size:]))
            ec_key.verify(encode_dss_signature(first, second), body, ec.ECDSA(digest))
            return True
    except InvalidSignature:
        pass
    return False


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))


def keys_of(cluster: Cluster) -> str:
    """Return the API server's keys as `key_set` does. Raises the errors of `daypass.kube.errors`,
    and KeySetError.
    """
    accept = {"Accept": "application/jwk-set+json"}  # the only type it serves
    path, what = "/openid/v1/jwks", "read the signing keys"
    return key_set(json.dumps(cluster.request("GET", path, what=what, headers=accept)))


def find_issuer(cluster: Cluster) -> str | None:
    """Return the `iss` of the API server's short-lived tokens, or None if it does not name it.

    Raises the errors of `daypass.kube.errors`.
    """
    path = "/.well-known/openid-configuration"
    issuer = cluster.request("GET", path, what="read who issues tokens").get("issuer")
    return issuer if isinstance(issuer, str) and issuer else None


def issuer_of(cluster: Cluster) -> str:
    """Return what `find_issuer` finds. Raises BrokenResponseError if that is None."""
    issuer = find_issuer(cluster)
    if issuer is None:
        raise BrokenResponseError(
            "the API server does not return its issuer",
            "set cluster.issuer; it is `iss` of any short-lived token",
        )
    return issuer


def signing_keys_of(cluster: Cluster, issuer: str | None) -> SigningKeys:
    """Return the keys of the API server, and `issuer` or else its own. Raises as `keys_of`."""
    return SigningKeys(issuer=issuer or issuer_of(cluster), key_set=keys_of(cluster))
