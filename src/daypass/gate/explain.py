"""A JSON Web Key Set (RFC 7517) of an API server, in the form in which a gate gets it.

Whether a key of a JSON Web Key Set has signed a token (RFC 7515, RFC 7517, RFC 7518).

For explanations alone: at the gate, Envoy or the API server verify. Needs `cryptography`.

The decision for a person who holds a token: what would happen, and what nobody has looked at.

What a cluster tells about a token without being shown it: its keys, and what was revoked.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from daypass._core.errors import DaypassError, MissingExtraError
from daypass._core.jwt import MalformedTokenError, decode_unverified
from daypass._core.reasons import CODES, MESSAGES, Reason
from daypass.gate.decision import Decision, GateRequest, Rules, decide
from daypass.gate.revocation.deny_list import denials_in
from daypass.gate.revocation.state_store import StateStore
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, uid_of
from daypass.render.objects import GATE_DENIED


class KeySetError(DaypassError):
    """What is given as keys is no JSON Web Key Set."""


def key_set(body: bytes | str) -> str:
    """The public keys of a set, as text, in a stable order. Raises KeySetError."""
    try:
        keys = json.loads(body)["keys"]
        # Symmetric keys have no place in a published set, and would let anybody sign.
        public = [key for key in keys if key["kty"] in ("RSA", "EC")]
        ordered = sorted(public, key=lambda key: json.dumps(key, sort_keys=True))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("what the API server gives as its signing keys is no key set") from None
    if not ordered:
        raise KeySetError("the API server's key set is empty")
    return json.dumps({"keys": ordered}, sort_keys=True)


def key_ids(keys: str) -> list[str]:
    """The `kid`s of a set that `key_set` gave."""
    return [str(key.get("kid", "")) for key in json.loads(keys)["keys"]]


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


NO_KEYS = "whose key has signed it (no keys were given)"
NO_LIST = "whether it was revoked (no cluster was asked)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and what it did not know. `passes`: nothing that was looked at is against it."""

    decision: Decision
    passes: bool
    not_looked_at: tuple[str, ...]

    @property
    def code(self) -> int:
        """The HTTP code of the gate's answer."""
        return 200 if self.passes else CODES.get(self.decision.reason, 401)

    @property
    def message(self) -> str:
        """How it ends, in words."""
        reason = Reason.ALLOWED if self.passes else self.decision.reason
        return MESSAGES[reason]


def explain(token: str, host: str, rules: Rules, now_unix: float, keys: str | None) -> Explanation:
    """What the gate would do with a token. `keys`: a JSON Web Key Set, or None without one."""
    signed: bool | None = None
    if keys is not None:
        signed = is_signed(token, keys)
    request = GateRequest(host=host, headers=(("authorization", f"Bearer {token}"),))
    unknown = [NO_KEYS] if signed is None else []
    unknown += [NO_LIST] if rules.denied is None else []
    decision = decide(request, rules, now_unix, signed=signed)
    # Without keys nobody knows whether it is signed; all else may still speak against it.
    passes = decide(request, rules, now_unix, signed=signed is not False).is_allowed
    return Explanation(decision=decision, passes=passes, not_looked_at=tuple(unknown))


def keys_of(cluster: Cluster) -> str:
    """The API server's JSON Web Key Set. Raises the errors of `daypass.kube.errors`."""
    accept = {"Accept": "application/jwk-set+json"}  # it gives them as nothing else
    path, what = "/openid/v1/jwks", "read the signing keys"
    return json.dumps(cluster.request("GET", path, what=what, headers=accept))


def issuer_of(cluster: Cluster) -> str:
    """The `iss` of its short-lived tokens; raises as `keys_of`."""
    path = "/.well-known/openid-configuration"
    return str(cluster.request("GET", path, what="read who issues tokens").get("issuer", ""))


def watched_namespaces(cluster: Cluster, namespace: str) -> frozenset[str] | None:
    """The namespaces that the watch of a gate follows; None where it publishes nothing.

    `namespace`: where it keeps its record. Raises RecordError, and as `keys_of`.
    """
    followed = StateStore(cluster, namespace).read().published.get("followed")
    return None if followed is None else frozenset(map(str, followed))


def denied_in(cluster: Cluster, namespace: str, token: str, now_unix: float) -> frozenset[str]:
    """UIDs that the token names and the cluster has no more, and all that was denied by hand.

    `namespace`: where the ConfigMap of denials is. Raises as `keys_of`.
    """
    found = cluster.find(CONFIG_MAPS, GATE_DENIED, namespace)
    orders = () if found is None else tuple(denials_in(found))
    denied = {order.name for order in orders if order.until_unix > now_unix}
    try:
        bound = decode_unverified(token)[1].get("kubernetes.io")
    except MalformedTokenError:
        return frozenset(denied)
    if not isinstance(bound, dict):
        return frozenset(denied)
    for key, resource in (("secret", SECRETS), ("serviceaccount", SERVICE_ACCOUNTS)):
        reference = bound.get(key)
        if isinstance(reference, dict) and isinstance(uid := reference.get("uid"), str):
            names = str(reference.get("name")), str(bound.get("namespace"))
            there = cluster.find(resource, *names)
            if there is None or uid_of(there) != uid or "deletionTimestamp" in there["metadata"]:
                denied.add(uid)
    return frozenset(denied)
