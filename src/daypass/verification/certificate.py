"""The certificate that a door presents: its trust, its issuer and its expiry."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core.hints import command, kubectl
from daypass.client.error_mapping import EXPIRED, NOT_YET_VALID, OTHER_NAMES, UNKNOWN_ISSUER
from daypass.verification.report import Finding, failure, ok, warning
from daypass.verification.target import VerificationTarget

FAKE = "Kubernetes Ingress Controller Fake Certificate"
"""The subject of the certificate that ingress-nginx presents without one for the host."""
_RENEWAL_DAYS = 14
_FAKE_REMEDIES = """the ingress controller has no certificate for {host}. Do one of these:
1. put the certificate into the Secret of `tls: {{secret: NAME}}`, in the Ingress's namespace
2. let cert-manager issue one: `tls: {{issuer: NAME}}`, then `{apply}`
3. terminate TLS before the ingress (in an ALB, for example), with `tls: outside`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCertificate:
    """The fields of a certificate that the checks use."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    ends_unix: float


def read_certificate(fields: Mapping[str, Any]) -> PresentedCertificate:
    """Read what `SSLSocket.getpeercert` returns."""
    return PresentedCertificate(
        subject=_common_name(fields.get("subject", ())),
        issuer=_common_name(fields.get("issuer", ())),
        names=tuple(value for _, value in fields.get("subjectAltName", ())),
        ends_unix=float(ssl.cert_time_to_seconds(fields["notAfter"])),
    )


def judge_certificate(
    certificate: PresentedCertificate, target: VerificationTarget, now_unix: float
) -> Finding:
    """Judge a trusted certificate by the time that it is still valid."""
    days = int((certificate.ends_unix - now_unix) // 86400)
    fact = f"trusted, issued by {certificate.issuer or 'its authority'}, valid for {days} more days"
    if days >= _RENEWAL_DAYS:
        return ok("certificate", fact)
    return warning(
        "certificate",
        fact,
        "renew it: cert-manager does that automatically (`tls: {issuer: NAME}`)"
        if target.tls != "issuer"
        else "cert-manager should have renewed it: " + kubectl("describe", "certificates", "-A"),
    )


def judge_untrusted(
    error: ssl.SSLCertVerificationError,
    seen: PresentedCertificate | None,
    target: VerificationTarget,
) -> Finding:
    """Judge a certificate that failed verification. `seen`: its fields, if they can be read."""
    host = target.door.address.host
    if seen is not None and seen.subject == FAKE:
        return failure(
            "certificate",
            f'"{FAKE}" is presented for {host}',
            _FAKE_REMEDIES.format(host=host, apply=command("apply")),
        )
    if error.verify_code in OTHER_NAMES:
        names = ", ".join(seen.names) if seen is not None else "another name"
        return failure(
            "certificate",
            f"the certificate is for {names}, not for {host}",
            "does the name lead to this cluster, and does the Secret hold this host's certificate?",
        )
    if error.verify_code in (EXPIRED, NOT_YET_VALID):
        what = "has expired" if error.verify_code == EXPIRED else "is not valid yet"
        return failure(
            "certificate",
            f"the certificate of {host} {what}",
            "renew it, and check this machine's clock",
        )
    if error.verify_code in UNKNOWN_ISSUER:
        issuer = f" {seen.issuer}" if seen is not None and seen.issuer else ""
        return failure(
            "certificate",
            f"the certificate of {host} is issued by an authority{issuer} that this machine does"
            " not trust",
            "for your own authority: --certificate-authority FILE, and the same in the credentials"
            " of clients",
        )
    return failure("certificate", f"the certificate is not trusted: {error.verify_message}")


def read_untrusted_certificate(
    connect: Callable[[], socket.socket], host: str
) -> PresentedCertificate | None:
    """Return the fields of an untrusted certificate, or None. Only for a diagnosis.

    Opens two connections and sends nothing on either. The certificate is parsed by trusting it
    alone, which works unless it has expired.
    """
    try:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        with unverified.wrap_socket(connect(), server_hostname=host) as connection:
            content = connection.getpeercert(binary_form=True)
        pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        pinned.check_hostname = False
        pinned.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        pinned.load_verify_locations(cadata=content or b"")
        with pinned.wrap_socket(connect(), server_hostname=host) as connection:
            return read_certificate(connection.getpeercert() or {})
    except (OSError, ValueError, KeyError):
        return None


def _common_name(name: Any) -> str:
    pairs = {key: value for part in name for key, value in part}
    return str(pairs.get("commonName") or pairs.get("organizationName") or "")
