"""The certificate that the door shows to the fronts, where no issuer gives one.

What has to be there beside the manifests, and `apply` brings: a pair, copies of authorities.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError
from daypass._core.hints import kubectl
from daypass._core.labels import DOMAIN
from daypass.deploy.object_ref import ObjectRef, find_metadata, find_object, in_parallel
from daypass.kube.cluster import Cluster
from daypass.kube.resources import Object
from daypass.render.objects import (
    API_SERVER_NAMESPACE,
    CLUSTER_AUTHORITY,
    DOOR_PAIR,
    GATE_PAIR,
    annotated,
    new_object,
)
from daypass.render.prerequisites import Content, Prerequisite

RENEW_AFTER = f"{DOMAIN}/renew-after"
"""On the Secret: RFC 3339, UTC; the first `apply` after that makes another pair."""

LIFETIME = datetime.timedelta(days=5 * 365)
RENEWED_BEFORE = datetime.timedelta(days=2 * 365)
BACKDATED = datetime.timedelta(hours=1)
"""For whoever's clock is behind."""

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


def make_serving_certificate(
    namespace: str, name: str, host: str, clock: Clock, trusted: str = ""
) -> Object:
    """A Secret with a certificate for `host`, its key, and `ca.crt` to trust it by.

    The authority signs this one and is forgotten, so that nobody can make another. `trusted`: PEM
    that `ca.crt` goes on to trust, since doors and fronts do not take up a new pair in one moment.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = utc(clock.unix())
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    # A name of its own: of two authorities of one name OpenSSL tries the first alone.
    own = f"daypass door authority {x509.random_serial_number() >> 96:016x}"
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own)])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daypass door")])

    def begun(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + LIFETIME)
            .add_extension(
                x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True
            )
        )

    root = begun(issuer, authority, ca=True).sign(authority, hashes.SHA256())
    leaf = (
        begun(subject, key, ca=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    data = {
        "ca.crt": _base64(root.public_bytes(pem) + trusted.encode()),
        "tls.crt": _base64(leaf.public_bytes(pem)),
        "tls.key": _base64(secret),
    }
    due = {RENEW_AFTER: (now + LIFETIME - RENEWED_BEFORE).strftime("%Y-%m-%dT%H:%M:%SZ")}
    return annotated(
        new_object("v1", "Secret", name, namespace, type="kubernetes.io/tls", data=data), due
    )


def is_due(metadata: Object, clock: Clock) -> bool:
    """Whether a pair that was made here is to be replaced, by the metadata of its Secret."""
    try:
        due = datetime.datetime.fromisoformat((metadata.get("annotations") or {})[RENEW_AFTER])
        return due.timestamp() <= clock.unix()
    except (KeyError, ValueError):
        return False  # somebody else's


def certificates_in(text: str) -> str:
    """The certificates of a PEM text, without whatever else is in it: a key, say."""
    return "".join(f"{found}\n" for found in _CERTIFICATE.findall(text))


def authority_in(document: Object) -> str:
    """The certificates of `ca.crt` in a Secret or a ConfigMap; empty where there are none."""
    text = (document.get("data") or {}).get("ca.crt") or ""
    if document.get("kind") == "Secret":
        try:
            text = base64.b64decode(text, validate=True).decode("ascii", "replace")
        except ValueError:
            return ""
    return certificates_in(text)


def authority_object(kind: str, namespace: str, name: str, pem: str) -> Object:
    """A Secret or a ConfigMap with `ca.crt` alone."""
    value = _base64(pem.encode()) if kind == "Secret" else pem
    return new_object("v1", kind, name, namespace, data={"ca.crt": value})


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


_COPIED: dict[Content, str] = {"door-authority": DOOR_PAIR, "gate-authority": GATE_PAIR}
"""The Secret, in the door's namespace, whose `ca.crt` is copied."""


@dataclass(slots=True, kw_only=True)
class ProvidedPrerequisites:
    """`objects`: to be applied. `kept`: the metadata of what is there and stays. `waiting`: copies
    of what cert-manager has yet to make. `missing`: what somebody else brings, and has not.
    """

    objects: list[Object] = field(default_factory=list)
    kept: dict[ObjectRef, Object] = field(default_factory=dict)
    waiting: list[Prerequisite] = field(default_factory=list)
    missing: list[Prerequisite] = field(default_factory=list)


def provide_prerequisites(
    cluster: Cluster, needs: Sequence[Prerequisite], namespace: str
) -> ProvidedPrerequisites:
    """What is to be done about needs; asks, and changes nothing. `namespace`: the door's.

    Raises DaypassError where what is to be copied holds no certificate.
    """
    brought = ProvidedPrerequisites()
    named = {_identifier(need.kind, need.namespace, need.name): need for need in needs}
    there = dict(zip(named, in_parallel(partial(find_metadata, cluster), named), strict=True))
    authorities: dict[str, str | None] = {}
    for identifier, need in named.items():
        found = there[identifier]
        if need.content == "public-pair" and found is None:
            brought.missing.append(need)
        elif need.content in ("door-pair", "gate-pair"):
            authorities[need.name] = _bring_pair(cluster, identifier, need, found, brought)
        elif need.content == "api-server-authority":
            source = _identifier("ConfigMap", API_SERVER_NAMESPACE, CLUSTER_AUTHORITY)
            brought.objects.append(_copy(need, _authority(cluster, source) or ""))
    for need in needs:
        pair = _COPIED.get(need.content)
        if pair is None:
            continue
        if not authorities.get(pair):
            authorities[pair] = _authority(cluster, _identifier("Secret", namespace, pair))
        authority = authorities[pair]
        if authority is None:
            brought.waiting.append(need)
        else:
            brought.objects.append(_copy(need, authority))
    return brought


def _bring_pair(
    cluster: Cluster,
    identifier: ObjectRef,
    need: Prerequisite,
    found: Object | None,
    brought: ProvidedPrerequisites,
) -> str | None:
    """See to the door's pair; the authority of it if it is a new one."""
    clock = cluster.clock
    if found is not None and not is_due(found["metadata"], clock):
        brought.kept[identifier] = found
        return None
    trusted = (_authority(cluster, identifier) or "") if found is not None else ""
    made = make_serving_certificate(need.namespace, need.name, need.host, clock, trusted)
    brought.objects.append(made)
    return authority_in(made)


def _authority(cluster: Cluster, identifier: ObjectRef) -> str | None:
    document = find_object(cluster, identifier)
    if document is None:
        return None
    found = authority_in(document)
    if not found:
        raise DaypassError(
            f"{identifier} has no certificate in `ca.crt`, which it is to be trusted by",
            "delete it, and apply makes another: "
            + kubectl(
                "delete", identifier.kind.lower(), identifier.name, "-n", identifier.namespace
            ),
        )
    return found


def _copy(need: Prerequisite, pem: str) -> Object:
    return authority_object(need.kind, need.namespace, need.name, pem)


def _identifier(kind: str, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(group="", kind=kind, namespace=namespace, name=name)
