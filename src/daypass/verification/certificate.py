"""The certificate that a door presents: its trust, its issuer and its expiry."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daypass._core.findings import Finding, failure, ok, warning
from daypass._core.hints import command, kubectl
from daypass._core.net import HostPort
from daypass._core.text import printable
from daypass.client.error_mapping import EXPIRED, NOT_YET_VALID, OTHER_NAMES, UNKNOWN_ISSUER
from daypass.client.transport import Route
from daypass.render.fronts import FRONTS
from daypass.verification.target import VerificationTarget

if TYPE_CHECKING:
    from cryptography import x509

_CONNECT_SECONDS = 5.0
_RENEWAL_DAYS = 14
_DEFAULT_REMEDIES = """the ingress controller has no certificate for {host}. Do one of these:
1. put the certificate into the Secret of `tls: {{secret: NAME}}`, in the Ingress's namespace
2. let cert-manager issue one: `tls: {{issuer: NAME}}`, then `{apply}`
3. terminate TLS before the ingress (in an ALB, for example), with `tls: outside`"""


def check_certificate(route: Route, target: VerificationTarget, now_unix: float) -> Finding:
    """Connect to the door without sending anything, and judge its certificate."""
    address, context = target.door.address, route.context
    if route.proxy is not None or context is None:
        return ok("certificate", "verified with each request (through a proxy)")
    try:
        with context.wrap_socket(_connect(address), server_hostname=address.host) as connection:
            fields = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return _judge_untrusted(error, _read_untrusted(address), target)
    except ssl.SSLError as error:
        return failure(
            "certificate",
            f"TLS with {address} fails: {printable(error.reason or type(error).__name__)}",
            "does this port speak TLS, and is it that of the ingress or gateway?",
        )
    except OSError as error:
        return failure(
            "certificate",
            f"no connection to {address}: {error.strerror or type(error).__name__}",
            "does the ingress or gateway listen there, and does a firewall let you through?",
        )
    return _judge_trusted(fields, target, now_unix)


def _connect(address: HostPort) -> socket.socket:
    return socket.create_connection((address.host, address.port), _CONNECT_SECONDS)


def _judge_trusted(
    fields: Mapping[str, Any], target: VerificationTarget, now_unix: float
) -> Finding:
    """Judge a trusted certificate (`SSLSocket.getpeercert`) by the time that it is still valid."""
    issuer = {key: value for part in fields.get("issuer", ()) for key, value in part}
    by = issuer.get("commonName") or issuer.get("organizationName") or "its authority"
    days = int((ssl.cert_time_to_seconds(fields["notAfter"]) - now_unix) // 86400)
    fact = f"trusted, issued by {by}, valid for {days} more days"
    if days >= _RENEWAL_DAYS:
        return ok("certificate", fact)
    return warning(
        "certificate",
        fact,
        "renew it: cert-manager does that automatically (`tls: {issuer: NAME}`)"
        if not target.has_issuer
        else "cert-manager should have renewed it: " + kubectl("describe", "certificates", "-A"),
    )


def _judge_untrusted(
    error: ssl.SSLCertVerificationError,
    seen: x509.Certificate | None,
    target: VerificationTarget,
) -> Finding:
    """Judge a certificate that failed verification. `seen`: the certificate, if it can be read."""
    host = target.door.address.host
    subject = "" if seen is None else _name(seen.subject)
    if subject and subject in {front.default_certificate for front in FRONTS}:
        return failure(
            "certificate",
            f'"{subject}" is presented for {host}',
            _DEFAULT_REMEDIES.format(host=host, apply=command("apply")),
        )
    if error.verify_code in OTHER_NAMES:
        names = ", ".join(hosts_of(seen)) if seen is not None else "another name"
        return failure(
            "certificate",
            f"the certificate is for {names}, not for {host}",
            "does the name lead to this cluster, and does the Secret hold this host's certificate?",
        )
    if error.verify_code in (EXPIRED, NOT_YET_VALID):
        what, hint = "is not valid yet", "this machine's clock may be wrong"
        if error.verify_code == EXPIRED:
            what, hint = "has expired", "renew it, and check this machine's clock"
        return failure("certificate", f"the certificate of {host} {what}", hint)
    if error.verify_code in UNKNOWN_ISSUER:
        by = _name(seen.issuer) if seen is not None else ""
        issuer = f' "{by}"' if by else " an authority"
        return failure(
            "certificate",
            f"the certificate of {host} is signed by{issuer}, which is not trusted here",
            "for your own authority: --certificate-authority FILE, and the same in the credentials"
            f" of clients\n`{command('up')}` prints the path of its authority",
        )
    return failure("certificate", f"the certificate is not trusted: {error.verify_message}")


def _read_untrusted(address: HostPort) -> x509.Certificate | None:
    """Return the certificate of a server without verifying it, or None. Only for a diagnosis.

    Opens a connection and sends nothing on it.
    """
    from cryptography import x509  # most certificates are trusted

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(_connect(address), server_hostname=address.host) as connection:
            content = connection.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(content or b"")
    except (OSError, ValueError):
        return None


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and IP addresses that a certificate is for."""
    from cryptography import x509  # most certificates are trusted

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _name(name: x509.Name) -> str:
    named = {each.rfc4514_attribute_name: str(each.value) for each in name}
    return named.get("CN") or named.get("O") or ""
