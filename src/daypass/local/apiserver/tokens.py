"""The keys that sign tokens: one that does, and others that are still believed.

Tokens of ServiceAccounts: what is in them, and what makes them good.

Steps, and their words, follow k8s.io/kubernetes/pkg/serviceaccount (jwt.go, claims.go, legacy.go).
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass.local.apiserver.errors import quote, quote_list
from daypass.local.apiserver.kinds import NODE, POD, SECRET, SERVICE_ACCOUNT
from daypass.local.apiserver.store import Object, Store
from daypass.local.apiserver.users import User, service_account_name, service_account_user

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


LEGACY_ISSUER = "kubernetes/serviceaccount"
LEGACY_PREFIX = "kubernetes.io/serviceaccount/"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
LEEWAY_SECONDS = 60
"""How long after its end Kubernetes still takes a token (go-jose's DefaultLeeway)."""
_DAY_SECONDS = 86400
_BOUND = {"secret": (SECRET, "secret"), "pod": (POD, "pod"), "node": (NODE, "node")}


class InvalidTokenError(Exception):
    """A token that is not good. The message is for a TokenReview, never for a 401."""


def unknown_token(why: str = "") -> InvalidTokenError:
    """What the union of Kubernetes' authenticators says."""
    return InvalidTokenError(f"[invalid bearer token, {why}]" if why else "invalid bearer token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Makes tokens and tells the good ones. `audiences` are the API server's own."""

    store: Store
    keys: KeyRing
    clock: Clock
    name: str
    audiences: tuple[str, ...]

    def issue(
        self, account: Object, audiences: list[str], seconds: int, bound: tuple[str, Object] | None
    ) -> str:
        """A short-lived token. `bound`: `secret`, `pod` or `node`, and the object."""
        now = int(self.clock.unix())
        metadata = account["metadata"]
        place: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": _reference(account),
        }
        if bound is not None:
            place[bound[0]] = _reference(bound[1])
            if bound[0] == "pod" and (node := bound[1].get("spec", {}).get("nodeName")):
                live = self.store.get(NODE, "", node)
                place["node"] = {"name": node} if live is None else _reference(live)
        claims = {
            "iss": self.name,
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": place,
        }
        return self.keys.current.sign(claims)

    def issue_legacy(self, account: Object, secret: Object) -> str:
        """The long-lived token of a Secret."""
        metadata = account["metadata"]
        claims = {
            "iss": LEGACY_ISSUER,
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
            f"{LEGACY_PREFIX}namespace": metadata["namespace"],
            f"{LEGACY_PREFIX}secret.name": secret["metadata"]["name"],
            f"{LEGACY_PREFIX}service-account.name": metadata["name"],
            f"{LEGACY_PREFIX}service-account.uid": metadata["uid"],
        }
        return self.keys.current.sign(claims)

    def verify(self, token: str, wanted: tuple[str, ...]) -> tuple[User, list[str]]:
        """The user of a token, and which of the wanted audiences it is for.

        Raises InvalidTokenError.
        """
        # 1. Is it ours to judge? Nothing is believed yet.
        try:
            header, claims = decode_unverified(token)
        except MalformedTokenError:
            raise unknown_token() from None
        issuer = claims.get("iss")
        if issuer not in (self.name, LEGACY_ISSUER):
            raise unknown_token()
        # 2. The signature, by a key of ours and by no other algorithm than ours.
        kid = header.get("kid", "")
        candidates = self.keys.candidates(kid) if isinstance(kid, str) else []
        if not candidates:
            raise unknown_token("invalid signature, no keys found")
        if header.get("alg") != ALGORITHM or not _signed(token, candidates):
            raise unknown_token("go-jose/go-jose: error in cryptographic primitive")
        # 3. What it is for. Everything in it is our own word from here on.
        legacy = issuer == LEGACY_ISSUER
        meant = tuple(claims.get("aud", ())) or self.audiences
        audiences = [audience for audience in wanted if audience in meant]
        if not audiences:
            raise unknown_token(
                f"token audiences {quote_list(meant)} is invalid for the target audiences "
                f"{quote_list(wanted)}"
            )
        # 4. Whether it still holds.
        try:
            user = self._legacy_user(token, claims) if legacy else self._user(claims)
        except _Void as void:
            raise unknown_token(str(void)) from None
        return user, audiences

    def _user(self, claims: dict[str, Any]) -> User:
        now = self.clock.unix()
        if now - LEEWAY_SECONDS > claims["exp"]:
            raise _Void("service account token has expired")
        if now + LEEWAY_SECONDS < claims["nbf"]:
            raise _Void("service account token is not valid yet")
        place = claims["kubernetes.io"]
        namespace, account = place["namespace"], place["serviceaccount"]
        live = self._account(namespace, account["name"])
        if live["metadata"]["uid"] != account["uid"]:
            raise _Void(
                f"service account UID ({live['metadata']['uid']}) does not match claim "
                f"({account['uid']})"
            )
        for key, (kind, word) in _BOUND.items():
            if (reference := place.get(key)) is None or (key == "node" and "pod" in place):
                continue
            where = namespace if kind.namespaced else ""
            bound = self.store.get(kind, where, reference["name"])
            if bound is None:
                raise _Void("service account token has been invalidated")
            if bound["metadata"]["uid"] != reference["uid"]:
                raise _Void(
                    f"{word} UID ({bound['metadata']['uid']}) does not match service account "
                    f"{word} ref claim ({reference['uid']})"
                )
        extra = {CREDENTIAL_ID: [f"JTI={claims['jti']}"]}
        if pod := place.get("pod"):
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        if node := place.get("node"):
            extra["authentication.kubernetes.io/node-name"] = [node["name"]]
            if uid := node.get("uid"):
                extra["authentication.kubernetes.io/node-uid"] = [uid]
        return service_account_user(namespace, account["name"], account["uid"], **extra)

    def _legacy_user(self, token: str, claims: dict[str, Any]) -> User:
        namespace = claims[f"{LEGACY_PREFIX}namespace"]
        secret_name = claims[f"{LEGACY_PREFIX}secret.name"]
        name = claims[f"{LEGACY_PREFIX}service-account.name"]
        uid = claims[f"{LEGACY_PREFIX}service-account.uid"]
        secret = self.store.get(SECRET, namespace, secret_name)
        if secret is None:
            raise _Void("Token has been invalidated")
        kept = base64.b64encode(token.encode()).decode()
        if not compare_digest(secret.get("data", {}).get("token", ""), kept):
            raise _Void("Token does not match server's copy")
        account = self._account(namespace, name)
        if account["metadata"]["uid"] != uid:
            raise _Void(
                f"ServiceAccount UID ({account['metadata']['uid']}) does not match claim ({uid})"
            )
        self._note_use(secret)
        if INVALID_SINCE in secret["metadata"].get("labels", {}):
            raise _Void(
                f"the token in secret {namespace}/{secret_name} for service account "
                f"{namespace}/{name} has been marked invalid. Use tokens from the TokenRequest API "
                "or manually created secret-based tokens, or remove the "
                f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        return service_account_user(namespace, name, uid)

    def _account(self, namespace: str, name: str) -> Object:
        account = self.store.get(SERVICE_ACCOUNT, namespace, name)
        if account is None:
            raise _Void(f"serviceaccounts {quote(name)} not found")
        return account

    def _note_use(self, secret: Object) -> None:
        now = self.clock.unix()
        labels = secret["metadata"].get("labels", {})
        today, tomorrow = (f"{utc(now + days * _DAY_SECONDS):%Y-%m-%d}" for days in (0, 1))
        if labels.get(LAST_USED) not in (today, tomorrow):
            metadata = {**secret["metadata"], "labels": {**labels, LAST_USED: today}}
            self.store.put(SECRET, {**secret, "metadata": metadata})


class _Void(Exception):
    """A token of ours that no longer holds."""


def _reference(obj: Object) -> dict[str, str]:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


def _signed(token: str, candidates: list[SigningKey]) -> bool:
    signed, _, part = token.rpartition(".")
    try:
        signature = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "==")
    except ValueError:
        return False
    return any(key.verifies(signed.encode(), signature) for key in candidates)
