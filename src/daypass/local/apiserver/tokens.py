"""Tokens of ServiceAccounts: the keys that sign them, what they contain, and how they are verified.

Steps and error texts follow k8s.io/kubernetes/pkg/serviceaccount (jwt.go, claims.go, legacy.go).
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWTError, api_jws
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

from daypass._core.clock import Clock, utc
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass._core.secret import Secret
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
_KEY_BITS = 2048
LEGACY_PREFIX = "kubernetes.io/serviceaccount/"
LAST_USED = "kubernetes.io/legacy-token-last-used"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
LEEWAY_SECONDS = 60
"""How long after its expiry Kubernetes still accepts a token (go-jose's DefaultLeeway)."""

CACHED_SECONDS = 10.0
"""How long a verified token is accepted without another look, whatever is deleted meanwhile."""
CACHED_TOKENS_LIMIT = 4096


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

    def has_signed(self, token: str) -> bool:
        """Return whether it has signed a token, with its own algorithm."""
        try:
            api_jws.decode(token, self._public, [ALGORITHM])
        except PyJWTError:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """Return the public key (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        numbers = {key: public[key] for key in ("kty", "n", "e")}
        return {"use": "sig", "kid": self.kid, "alg": ALGORITHM, **numbers}


@dataclass(frozen=True, slots=True)
class Issuer:
    """Issues tokens, and verifies them."""

    store: Store
    key: SigningKey
    clock: Clock

    def jwks(self) -> Object:
        """Return the JSON Web Key Set (RFC 7517)."""
        return {"keys": [self.key.jwk()]}

    def issue(
        self, account: Object, audiences: list[str], seconds: int, secret: Object | None
    ) -> str:
        """Return a short-lived token, bound to a Secret if there is one."""
        now, namespace = int(self.clock.unix()), account["metadata"]["namespace"]
        private: Object = {"namespace": namespace, "serviceaccount": _reference(account)}
        if secret is not None:
            private["secret"] = _reference(secret)
        claims = {
            "iss": ISSUER,
            "sub": service_account_name(namespace, name_of(account)),
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
        }
        return self.key.sign(claims)

    def issue_legacy(self, account: Object, secret: Object) -> str:
        """Return the long-lived token of a Secret."""
        namespace = account["metadata"]["namespace"]
        claims = {
            "iss": LONG_LIVED_ISSUER,
            "sub": service_account_name(namespace, name_of(account)),
            f"{LEGACY_PREFIX}namespace": namespace,
            f"{LEGACY_PREFIX}secret.name": name_of(secret),
            f"{LEGACY_PREFIX}service-account.name": name_of(account),
            f"{LEGACY_PREFIX}service-account.uid": uid_of(account),
        }
        return self.key.sign(claims)

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
        # 2. The signature, by our key and with our algorithm only.
        if header.get("kid", self.key.kid) != self.key.kid:
            raise _invalid("invalid signature, no keys found")
        if not self.key.has_signed(token):
            raise _invalid("go-jose/go-jose: error in cryptographic primitive")
        # 3. The audience. From here on, all claims are ours.
        meant = tuple(claims.get("aud", ())) or (ISSUER,)
        audiences = [audience for audience in wanted if audience in meant]
        if not audiences:
            has, needs = (" ".join(map(json.dumps, each)) for each in (meant, wanted))
            raise _invalid(f"token audiences [{has}] is invalid for the target audiences [{needs}]")
        # 4. Is it still valid?
        is_legacy = issuer == LONG_LIVED_ISSUER
        return self._legacy_user(token, claims) if is_legacy else self._user(claims), audiences

    def _user(self, claims: dict[str, Any]) -> User:
        now = self.clock.unix()
        if now - LEEWAY_SECONDS > claims["exp"]:
            raise _invalid("service account token has expired")
        if now + LEEWAY_SECONDS < claims["nbf"]:
            raise _invalid("service account token is not valid yet")
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        self._require_account(namespace, account["name"], account["uid"])
        if (reference := private.get("secret")) is not None:
            secret = self.store.get(SECRET, namespace, reference["name"])
            if secret is None:
                raise _invalid("service account token has been invalidated")
            if uid_of(secret) != reference["uid"]:
                raise _invalid("secret UID does not match service account secret ref claim")
        extra = {CREDENTIAL_ID: [f"JTI={claims['jti']}"]}
        return service_account_user(namespace, account["name"], account["uid"], **extra)

    def _legacy_user(self, token: str, claims: dict[str, Any]) -> User:
        names = ("namespace", "secret.name", "service-account.name", "service-account.uid")
        namespace, secret_name, name, uid = (claims[LEGACY_PREFIX + each] for each in names)
        secret = self.store.get(SECRET, namespace, secret_name)
        if secret is None:
            raise _invalid("Token has been invalidated")
        stored = base64.b64encode(token.encode()).decode()
        if not compare_digest(secret.get("data", {}).get("token", ""), stored):
            raise _invalid("Token does not match server's copy")
        self._require_account(namespace, name, uid)
        self._label_used(secret)
        return service_account_user(namespace, name, uid)

    def _require_account(self, namespace: str, name: str, uid: str) -> None:
        account = self.store.get(SERVICE_ACCOUNT, namespace, name)
        if account is None:
            raise _invalid(f"serviceaccounts {json.dumps(name)} not found")
        if uid_of(account) != uid:
            raise _invalid(f"service account UID ({uid_of(account)}) does not match claim ({uid})")

    def _label_used(self, secret: Object) -> None:
        today, labels = f"{utc(self.clock.unix()):%Y-%m-%d}", secret["metadata"].get("labels", {})
        if labels.get(LAST_USED) != today:
            metadata = {**secret["metadata"], "labels": {**labels, LAST_USED: today}}
            self.store.put(SECRET, {**secret, "metadata": metadata})


def _invalid(why: str = "") -> InvalidTokenError:
    """Return the error of Kubernetes' union of authenticators."""
    return InvalidTokenError(f"[invalid bearer token, {why}]" if why else "invalid bearer token")


def _reference(obj: Object) -> dict[str, str]:
    return {"name": name_of(obj), "uid": uid_of(obj)}


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
        self._cached: dict[bytes, tuple[float, tuple[User, list[str]]]] = {}

    def authenticate(self, header: str, audiences: tuple[str, ...]) -> tuple[User, list[str]]:
        """Return the user of an Authorization header, and which of `audiences` it is for.

        Without credentials, that is system:anonymous. Raises InvalidTokenError.
        """
        token = bearer(header)
        if not token:
            return ANONYMOUS, list(audiences)
        if compare_digest(ascii(token), ascii(self.admin_token.reveal())):
            return ADMIN, list(audiences)
        key = sha256(ascii((token, audiences)).encode()).digest()
        now = self._issuer.clock.monotonic()
        ends, verified = self._cached.get(key, (now, None))
        if verified is None or now >= ends:
            verified = self._issuer.verify(token, audiences)
            if len(self._cached) >= CACHED_TOKENS_LIMIT:
                self._cached.clear()
            self._cached[key] = (now + CACHED_SECONDS, verified)
        return verified
