"""Whether a key of a JSON Web Key Set has signed a token (RFC 7515, RFC 7517, RFC 7518).

For explanations alone: at the gate, Envoy or the API server verify. Needs `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from daypass._core.errors import MissingExtraError
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.gateway.key_set import KeySetError


def is_signed(token: str, keys: str) -> bool:
    """Whether one of these keys has signed it. Raises KeySetError, MissingExtraError."""
    try:
        found = list(json.loads(keys)["keys"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError(
            "what is given as keys is no JSON Web Key Set",
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
