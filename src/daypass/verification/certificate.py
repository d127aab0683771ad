"""The certificate that a door shows: believed or not, for whom, by whom, for how long."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core.hints import command, kubectl
from daypass.client.transport_errors import EXPIRED, NOT_YET_VALID, OTHER_NAMES, UNKNOWN_ISSUER
from daypass.verification.report import Finding, failure, ok, warning
from daypass.verification.target import VerificationTarget

FAKE = "Kubernetes Ingress Controller Fake Certificate"
"""What ingress-nginx shows where it has none for the name."""
FEW_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCertificate:
    """A certificate in words."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    ends_unix: float


def presented_certificate(fields: Mapping[str, Any]) -> PresentedCertificate:
    """What `SSLSocket.getpeercert` gives, as far as it is told."""
    return PresentedCertificate(
        subject=_common_name(fields.get("subject", ())),
        issuer=_common_name(fields.get("issuer", ())),
        names=tuple(value for _, value in fields.get("subjectAltName", ())),
        ends_unix=float(ssl.cert_time_to_seconds(fields["notAfter"])),
    )


def judge_certificate(
    certificate: PresentedCertificate, target: VerificationTarget, now_unix: float
) -> Finding:
    """A certificate that was verified: how long it still lasts."""
    days = int((certificate.ends_unix - now_unix) // 86400)
    fact = f"trusted, by {certificate.issuer or 'its authority'}, for {days} more days"
    if days < FEW_DAYS:
        return warning(
            "certificate",
            fact,
            "renew it: cert-manager does that by itself (`tls: {issuer: NAME}`)"
            if target.tls != "issuer"
            else "cert-manager should have renewed it: "
            + kubectl("describe", "certificates", "-A"),
        )
    return ok("certificate", fact)


def judge_untrusted(
    error: ssl.SSLCertVerificationError,
    seen: PresentedCertificate | None,
    target: VerificationTarget,
) -> Finding:
    """A certificate that was not believed. `seen`: what it says of itself, where it can be read."""
    host = target.door.address.host
    if seen is not None and seen.subject == FAKE:
        return failure(
            "certificate",
            f'"{FAKE}" is shown for {host}',
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
            "renew it, and look at this machine's clock",
        )
    if error.verify_code in UNKNOWN_ISSUER:
        by = f" {seen.issuer}" if seen is not None and seen.issuer else ""
        return failure(
            "certificate",
            f"the certificate of {host} is by an authority{by} that this machine does not trust",
            "if it is your own authority: --certificate-authority FILE, and the same in the "
            "credentials of clients",
        )
    return failure("certificate", f"the certificate is not believed: {error.verify_message}")


_FAKE_REMEDIES = """the ingress controller has no certificate for {host}. One of these mends it:
1. put the certificate into the Secret of `tls: {{secret: NAME}}`, in the Ingress' namespace
2. let cert-manager make one: `tls: {{issuer: NAME}}`, then `{apply}`
3. let TLS end in front (an ALB, say) with a certificate of its own: `tls: outside`"""


def unsafe_shown_certificate(socket_to: Any, host: str) -> PresentedCertificate | None:
    """What a certificate says that nobody vouches for, for a diagnosis and nothing else.

    `socket_to` opens a connection; two are made, and nothing is sent on either. The certificate is
    read by trusting it alone, which works for all but those that have expired.
    """
    try:
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        with blind.wrap_socket(socket_to(), server_hostname=host) as connection:
            content = connection.getpeercert(binary_form=True)
        itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        itself.check_hostname = False
        itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        itself.load_verify_locations(cadata=content or b"")
        with itself.wrap_socket(socket_to(), server_hostname=host) as connection:
            return presented_certificate(connection.getpeercert() or {})
    except (OSError, ValueError, KeyError):
        return None


def _common_name(name: Any) -> str:
    pairs = {key: value for part in name for key, value in part}
    return str(pairs.get("commonName") or pairs.get("organizationName") or "")
