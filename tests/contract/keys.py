"""The API server's published keys, and checking a signature by them."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from contract.interface import ApiServer
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret

JWKS = "/openid/v1/jwks"


def signature_is_good(api_server: ApiServer, token: Secret) -> bool:
    """Whether a token (RS256) is signed by the published key that its header names.

    That is all a check by keys alone sees: no end, no audience, no deletion.
    """
    header, _ = decode_unverified(token.reveal())
    keys: list[dict[str, Any]] = api_server.admin.get(JWKS)["keys"]
    (key,) = (key for key in keys if key["kid"] == header["kid"])
    public = RSAPublicNumbers(e=_number(key["e"]), n=_number(key["n"])).public_key()
    signed, _, signature = token.reveal().rpartition(".")
    try:
        public.verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _number(part: str) -> int:
    return int.from_bytes(_decode(part), "big")
