"""Tokens of ServiceAccounts: the keys that sign them, what they contain, and how they are verified.

Steps and error texts follow k8s.io/kubernetes/pkg/serviceaccount (jwt.go, claims.go, legacy.go).
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import api_jws
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.local.apiserver.errors import quote
from daypass.local.apiserver.kinds import SECRET, SERVICE_ACCOUNT
from daypass.local.apiserver.rbac import (
    ADMIN,
    ANONYMOUS,
    User,
    service_account_name,
    service_account_user,
)
from daypass.local.apiserver.store import Store
from daypass.rules.claims import LONG_LIVED_ISSUER

ISSUER = "https://kubernetes.default.svc"
"""`iss` of short-lived tokens, and the API server's own and only audience."""
ALGORITHM = "RS256"
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)
_KEY_BITS = 2048
LEGACY_PREFIX = "kubernetes.io/serviceaccount/"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
LEEWAY_SECONDS = 60
"""How long after its expiry Kubernetes still accepts a token (go-jose's DefaultLeeway)."""
_DAY_SECONDS = 86400

CACHED_SECONDS = 10.0
"""How long a verified token is accepted without another look, whatever is deleted meanwhile."""
CACHED_TOKENS_LIMIT = 4096


class UnknownKeyError(DaypassError):
    """The key ID belongs to no key, or to the key that signs."""


class InvalidTokenError(Exception):
    """The token is not valid. The message is for a TokenReview, never for a 401."""


class SigningKey:
    """An RSA key; its ID is derived from the public key as Kubernetes does it."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self._public = private.public_key()
        der = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.kid = base64url_encode(sha256(der).digest()).decode()

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key; this takes about 0.1 s."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS))

    @classmethod
    def load(cls, pem: str) -> SigningKey:
        """Return the key in a PEM text. Raises ValueError."""
        private = serialization.load_pem_private_key(pem.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("a signing key is an RSA key")
        return cls(private)

    def unsafe_pem(self) -> str:
        """Return the private key, for a private file."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def sign(self, claims: dict[str, Any]) -> str:
        body = json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()
        header = {"kid": self.kid, "typ": None}
        return api_jws.encode(body, self._private, ALGORITHM, header)

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        return _RS256.verify(signed, self._public, signature)

    def jwk(self) -> dict[str, str]:
        """Return the public key (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        numbers = {key: public[key] for key in ("kty", "n", "e")}
        return {"use": "sig", "kid": self.kid, "alg": ALGORITHM, **numbers}


class KeyRing:
    """The keys that tokens are verified with; the first one signs."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self.keys = keys

    @property
    def current(self) -> SigningKey:
        return self.keys[0]

    def rotate(self) -> str:
        """Sign with a new key from now on, keep the others, and return the new key ID."""
        self.keys = [SigningKey.generate(), *self.keys]
        return self.current.kid

    def retire(self, kid: str) -> None:
        """Drop a key. Raises UnknownKeyError."""
        left = [key for key in self.keys if key.kid != kid]
        if len(left) == len(self.keys) or kid == self.current.kid:
            raise UnknownKeyError(
                f"{kid} is not a key that can be retired", "rotate first: the key that signs stays"
            )
        self.keys = left

    def candidates(self, kid: str) -> list[SigningKey]:
        """Return the keys for a key ID; without one, all of them."""
        return [key for key in self.keys if not kid or key.kid == kid]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.jwk() for key in self.keys]}


@dataclass(frozen=True, slots=True)
class Issuer:
    store: Store
    keys: KeyRing
    clock: Clock

    def issue(
        self, account: Object, audiences: list[str], seconds: int, secret: Object | None
    ) -> str:
        """Return a short-lived token, bound to a Secret if there is one."""
        now = int(self.clock.unix())
        metadata = account["metadata"]
        private: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": _reference(account),
        }
        if secret is not None:
            private["secret"] = _reference(secret)
        claims = {
            "iss": ISSUER,
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
        }
        return self.keys.current.sign(claims)

    def issue_legacy(self, account: Object, secret: Object) -> str:
        """Return the long-lived token of a Secret."""
        metadata = account["metadata"]
        claims = {
            "iss": LONG_LIVED_ISSUER,
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
            f"{LEGACY_PREFIX}namespace": metadata["namespace"],
            f"{LEGACY_PREFIX}secret.name": secret["metadata"]["name"],
            f"{LEGACY_PREFIX}service-account.name": metadata["name"],
            f"{LEGACY_PREFIX}service-account.uid": metadata["uid"],
        }
        return self.keys.current.sign(claims)

    def verify(self, token: str, wanted: tuple[str, ...]) -> tuple[User, list[str]]:
        """Return the user of a token, and which of the wanted audiences it is for.

        Raises InvalidTokenError.
        """
        # 1. Is it from this issuer? Nothing in it is trusted yet.
        try:
            header, claims = decode_unverified(token)
        except MalformedTokenError:
            raise _invalid() from None
        issuer = claims.get("iss")
        if issuer not in (ISSUER, LONG_LIVED_ISSUER):
            raise _invalid()
        # 2. The signature, by one of our keys and with our algorithm only.
        kid = header.get("kid", "")
        candidates = self.keys.candidates(kid) if isinstance(kid, str) else []
        if not candidates:
            raise _invalid("invalid signature, no keys found")
        if header.get("alg") != ALGORITHM or not _is_signed(token, candidates):
            raise _invalid("go-jose/go-jose: error in cryptographic primitive")
        # 3. The audience. From here on, all claims are ours.
        meant = tuple(claims.get("aud", ())) or (ISSUER,)
        audiences = [audience for audience in wanted if audience in meant]
        if not audiences:
            has, needs = (" ".join(map(quote, each)) for each in (meant, wanted))
            raise _invalid(f"token audiences [{has}] is invalid for the target audiences [{needs}]")
        # 4. Is it still valid?
        is_legacy = issuer == LONG_LIVED_ISSUER
        user = self._legacy_user(token, claims) if is_legacy else self._user(claims)
        return user, audiences

    def _user(self, claims: dict[str, Any]) -> User:
        now = self.clock.unix()
        if now - LEEWAY_SECONDS > claims["exp"]:
            raise _invalid("service account token has expired")
        if now + LEEWAY_SECONDS < claims["nbf"]:
            raise _invalid("service account token is not valid yet")
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        live = self._account(namespace, account["name"])
        if live["metadata"]["uid"] != account["uid"]:
            raise _invalid(
                f"service account UID ({live['metadata']['uid']}) does not match claim "
                f"({account['uid']})"
            )
        if (reference := private.get("secret")) is not None:
            secret = self.store.get(SECRET, namespace, reference["name"])
            if secret is None:
                raise _invalid("service account token has been invalidated")
            if secret["metadata"]["uid"] != reference["uid"]:
                raise _invalid(
                    f"secret UID ({secret['metadata']['uid']}) does not match service account "
                    f"secret ref claim ({reference['uid']})"
                )
        extra = {CREDENTIAL_ID: [f"JTI={claims['jti']}"]}
        return service_account_user(namespace, account["name"], account["uid"], **extra)

    def _legacy_user(self, token: str, claims: dict[str, Any]) -> User:
        namespace = claims[f"{LEGACY_PREFIX}namespace"]
        secret_name = claims[f"{LEGACY_PREFIX}secret.name"]
        name = claims[f"{LEGACY_PREFIX}service-account.name"]
        uid = claims[f"{LEGACY_PREFIX}service-account.uid"]
        secret = self.store.get(SECRET, namespace, secret_name)
        if secret is None:
            raise _invalid("Token has been invalidated")
        stored = base64.b64encode(token.encode()).decode()
        if not compare_digest(secret.get("data", {}).get("token", ""), stored):
            raise _invalid("Token does not match server's copy")
        account = self._account(namespace, name)
        if account["metadata"]["uid"] != uid:
            raise _invalid(
                f"ServiceAccount UID ({account['metadata']['uid']}) does not match claim ({uid})"
            )
        self._label_used(secret)
        if INVALID_SINCE in secret["metadata"].get("labels", {}):
            raise _invalid(
                f"the token in secret {namespace}/{secret_name} for service account "
                f"{namespace}/{name} has been marked invalid"
            )
        return service_account_user(namespace, name, uid)

    def _account(self, namespace: str, name: str) -> Object:
        account = self.store.get(SERVICE_ACCOUNT, namespace, name)
        if account is None:
            raise _invalid(f"serviceaccounts {quote(name)} not found")
        return account

    def _label_used(self, secret: Object) -> None:
        now = self.clock.unix()
        labels = secret["metadata"].get("labels", {})
        today, tomorrow = (f"{utc(now + days * _DAY_SECONDS):%Y-%m-%d}" for days in (0, 1))
        if labels.get(LAST_USED) not in (today, tomorrow):
            metadata = {**secret["metadata"], "labels": {**labels, LAST_USED: today}}
            self.store.put(SECRET, {**secret, "metadata": metadata})


def _invalid(why: str = "") -> InvalidTokenError:
    """Return the error of Kubernetes' union of authenticators."""
    return InvalidTokenError(f"[invalid bearer token, {why}]" if why else "invalid bearer token")


def _reference(obj: Object) -> dict[str, str]:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


def _is_signed(token: str, candidates: list[SigningKey]) -> bool:
    signed, _, part = token.rpartition(".")
    try:
        signature = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "==")
    except ValueError:
        return False
    return any(key.verifies(signed.encode(), signature) for key in candidates)


def bearer(header: str) -> str:
    """Return the token in an Authorization header; "" if there are no credentials.

    As in bearertoken.go: the scheme in any case, then the second of the parts that single spaces
    separate. So two spaces, or a tab, are no credentials at all.
    """
    scheme, *rest = header.strip(" \t\n\v\f\r").split(" ", 2)
    return rest[0] if rest and scheme.lower() == "bearer" else ""


class TokenAuthenticator:
    """Finds the user of a token. Successes are cached, failures never."""

    def __init__(self, issuer: Issuer, admin_token: Secret) -> None:
        self.admin_token = admin_token
        self._issuer = issuer
        self._cached: OrderedDict[bytes, tuple[float, tuple[User, list[str]]]] = OrderedDict()

    def authenticate(self, header: str, audiences: tuple[str, ...]) -> tuple[User, list[str]]:
        """Return the user of an Authorization header, and which of `audiences` it is for.

        Without credentials, that is system:anonymous. Raises InvalidTokenError.
        """
        token = bearer(header)
        if not token:
            return ANONYMOUS, list(audiences)
        if compare_digest(_bytes(token), _bytes(self.admin_token.reveal())):
            return ADMIN, list(audiences)
        key = sha256(repr((token, audiences)).encode()).digest()
        now = self._issuer.clock.monotonic()
        if (cached := self._cached.get(key)) is not None:
            if now < cached[0]:
                return cached[1]
            del self._cached[key]
        verified = self._issuer.verify(token, audiences)
        self._cached[key] = (now + CACHED_SECONDS, verified)
        if len(self._cached) > CACHED_TOKENS_LIMIT:
            self._cached.popitem(last=False)
        return verified

    def clear_cache(self) -> None:
        self._cached.clear()


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogateescape")
