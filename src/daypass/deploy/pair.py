"""The certificate that the door shows to the fronts, where no issuer gives one."""

from __future__ import annotations

import base64
import datetime
import re

from daypass._core.clock import Clock, utc
from daypass.identity.marks import DOMAIN
from daypass.kube.resources import Object
from daypass.render.objects import annotated, new_object

RENEW_AFTER = f"{DOMAIN}/renew-after"
"""On the Secret: RFC 3339, UTC; the first `apply` after that makes another pair."""

LIFETIME = datetime.timedelta(days=5 * 365)
RENEWED_BEFORE = datetime.timedelta(days=2 * 365)
BACKDATED = datetime.timedelta(hours=1)
"""For whoever's clock is behind."""

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


def make_pair(namespace: str, name: str, host: str, clock: Clock, trusted: str = "") -> Object:
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
