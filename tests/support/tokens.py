"""Hand-made tokens, for what no API server would ever sign, and keys to sign them with."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from daypass._core.clock import SYSTEM_CLOCK, Clock

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "gate.example.com"
USER = "system:serviceaccount:team:bot"
SECRET_UID = "5ec4e7a1-0000-4000-8000-000000000001"
ACCOUNT_UID = "acc04a1b-0000-4000-8000-000000000001"
LONGEST_SECONDS = 7200
"""What every gate of these tests takes as `policy.longestLifetime`."""


def good_claims(clock: Clock = SYSTEM_CLOCK, **changes: Any) -> dict[str, Any]:
    """Return the claims of a token that a gate lets pass. A change to None leaves a claim out."""
    now = int(clock.unix())
    claims = {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": USER,
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3000,
        "jti": "j-1",
        "kubernetes.io": {
            "namespace": "team",
            "serviceaccount": {"name": "bot", "uid": ACCOUNT_UID},
            "secret": {"name": "bot-daypass-x", "uid": SECRET_UID},
        },
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


class Signer:
    """An RSA key, as an API server has one: of its own, where none is given."""

    def __init__(self, key_id: str = "key", key: rsa.RSAPrivateKey | None = None) -> None:
        self.key_id = key_id
        self._key = key or rsa.generate_private_key(65537, 2048)

    def named(self, key_id: str) -> Signer:
        """The same key, by another name."""
        return Signer(key_id, self._key)

    @property
    def jwks(self) -> str:
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.key_id,
            "n": encode(numbers.n.to_bytes(256)), "e": encode(numbers.e.to_bytes(3)),
        }  # fmt: skip
        return json.dumps({"keys": [key]})

    def sign(self, claims: Any, header: dict[str, Any] | None = None) -> str:
        """A token with these claims, whatever the header says, signed by RS256."""
        whole = {"alg": "RS256", "kid": self.key_id, **(header or {})}
        return self.sign_bytes(json.dumps(whole).encode(), json.dumps(claims).encode())

    def good(self, **changes: Any) -> str:
        """A token of `good_claims` with these changes."""
        return self.sign(good_claims(**changes))

    def bearer(self, **changes: Any) -> str:
        """The header line of such a token."""
        return f"Authorization: Bearer {self.good(**changes)}"

    def sign_bytes(self, header: bytes, claims: bytes) -> str:
        """A token of these two parts as they are, signed by RS256."""
        body = f"{encode(header)}.{encode(claims)}"
        signature = self._key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{body}.{encode(signature)}"


def encode(data: bytes) -> str:
    """base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
