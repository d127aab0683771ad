"""The keys that sign tokens: one that does, and others that are still believed."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from daypass._core.errors import DaypassError

ALGORITHM = "RS256"
BITS = 2048


class UnknownKeyError(DaypassError):
    """A key id that no key of this server has, or of the key that signs."""


def encode(raw: bytes) -> str:
    """base64url without padding (RFC 7515)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class SigningKey:
    """One RSA key; `kid` is made from the public key as Kubernetes makes it."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self._public = private.public_key()
        der = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.kid = encode(sha256(der).digest())
        header = {"alg": ALGORITHM, "kid": self.kid}
        self._header = encode(json.dumps(header, separators=(",", ":")).encode())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key; takes about 0.1 s."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=BITS))

    @classmethod
    def load(cls, pem: str) -> SigningKey:
        """A key that was kept. Raises ValueError."""
        private = serialization.load_pem_private_key(pem.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("a signing key is an RSA key")
        return cls(private)

    def unsafe_pem(self) -> str:
        """The private key as it is kept in a private file."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT of these claims."""
        body = encode(json.dumps(claims, sort_keys=True, separators=(",", ":")).encode())
        signed = f"{self._header}.{body}"
        signature = self._private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether this key made an RS256 signature."""
        try:
            self._public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7517)."""
        numbers = self._public.public_numbers()
        return {
            "use": "sig",
            "kty": "RSA",
            "kid": self.kid,
            "alg": ALGORITHM,
            "n": encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": encode(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        }


class KeyRing:
    """The keys of a server; the first one signs."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self.keys = keys

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        return self.keys[0]

    def rotate(self) -> str:
        """Sign with a new key from now on; the others are still believed. Gives its key id."""
        self.keys = [SigningKey.generate(), *self.keys]
        return self.current.kid

    def retire(self, kid: str) -> None:
        """Believe a key no longer. Raises UnknownKeyError."""
        left = [key for key in self.keys if key.kid != kid]
        if len(left) == len(self.keys) or kid == self.current.kid:
            raise UnknownKeyError(
                f"{kid} is no key that could be retired", "rotate first: the key that signs stays"
            )
        self.keys = left

    def candidates(self, kid: str) -> list[SigningKey]:
        """The keys that a token may be signed with; without a key id all of them."""
        return [key for key in self.keys if not kid or key.kid == kid]

    def jwks(self) -> dict[str, Any]:
        """All public keys."""
        return {"keys": [key.jwk() for key in self.keys]}
